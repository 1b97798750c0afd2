"""Panel: what cells scored, as sums per user, ready to be averaged over seeds and compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.selection import COUNTS, LONGER, MEAN_GAP, METRICS, Selector, gap_order

Float = NDArray[np.float64]
_VALUES = (*METRICS, *LONGER, *COUNTS)


class Group(NamedTuple):
    """All scores of one scorer at one place, whatever the metric."""

    profile: str
    variant: str
    scorer: str
    setting: str
    gap: str
    part: str
    steps: str


@dataclass
class Panel:
    """Scores of many cells of one log.

    Attributes:
        users: length of the log's user index.
    """

    users: int
    _blocks: dict[Group, dict[int, Float]] = field(default_factory=dict)  # [users, 1 + values]
    _means: dict[tuple[Group, tuple[int, ...]], Float] = field(default_factory=dict)

    def add(self, profile: str, variant: str, seed: int, scores: pl.DataFrame) -> None:
        """Take in the scores of one cell (rows of ``study.SCHEMA``)."""
        keys = ["scorer", "setting", "gap", "part", "loo"]
        parts = scores.partition_by(keys, as_dict=True, maintain_order=True, include_key=False)
        for (scorer, setting, gap, part, loo), rows in parts.items():
            steps = "loo" if loo else "last"
            group = Group(profile, variant, scorer, setting, str(gap), part, steps)
            block = np.zeros((self.users, 1 + len(_VALUES)))
            there = [name for name in _VALUES if name in rows.columns]
            places = np.array([0, *(1 + _VALUES.index(name) for name in there)])
            users = rows["user"].to_numpy()
            # Not scored is not nothing: see ``seeds``.
            block[:, [1 + _VALUES.index(name) for name in LONGER if name not in there]] = np.nan
            block[users[:, None], places] = rows.select("n", *there).to_numpy()
            self._blocks.setdefault(group, {})[seed] = block

    def pool_gaps(self) -> None:
        """Add the gap "mean": the average over all gaps above 0, where there are several."""
        pooled: dict[Group, list[dict[int, Float]]] = {}
        for group, blocks in self._blocks.items():
            if group.gap not in ("0", MEAN_GAP):
                pooled.setdefault(group._replace(gap=MEAN_GAP), []).append(blocks)
        for group, gaps in pooled.items():
            if len(gaps) > 1:
                seeds = sorted(set.intersection(*(set(blocks) for blocks in gaps)))
                sums = {seed: np.mean([b[seed] for b in gaps], axis=0) for seed in seeds}
                self._blocks[group] = sums

    def groups(self) -> Iterator[Group]:
        """All groups, gaps in order within what else is equal."""
        # Stable: profiles, variants and scorers stay in the order the cells brought them.
        yield from sorted(self._blocks, key=lambda group: gap_order(group.gap))

    def seeds(self, *selectors: Selector) -> list[int]:
        """Seeds that all of these were scored with, by their metric."""
        sets = []
        for selector in selectors:
            column = 1 + _VALUES.index(selector.metric)
            blocks = self._blocks.get(_group(selector), {})
            sets.append({seed for seed, b in blocks.items() if not np.isnan(b[:1, column]).any()})
        return sorted(set.intersection(*sets))

    def sums(self, selector: Selector, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Sum of the metric and number of steps per user, both [users], averaged over seeds."""
        key = (_group(selector), tuple(seeds))
        if key not in self._means:
            blocks = self._blocks[key[0]]
            self._means[key] = np.mean([blocks[seed] for seed in seeds], axis=0)
        mean = self._means[key]
        return mean[:, 1 + _VALUES.index(selector.metric)], mean[:, 0]

    def by_seed(self, selector: Selector, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Sum of the metric and number of steps per user and seed, both [users, seeds]."""
        blocks = self._blocks[_group(selector)]
        column = 1 + _VALUES.index(selector.metric)
        sums, counts = (
            np.stack([blocks[seed][:, at] for seed in seeds], axis=1) for at in (column, 0)
        )
        return sums, counts

    def value(self, selector: Selector, seeds: Sequence[int]) -> float | None:
        """The metric over all users; None without a step."""
        sums, counts = self.sums(selector, seeds)
        return float(sums.sum() / counts.sum()) if counts.sum() > 0 else None


def _group(s: Selector) -> Group:
    return Group(s.profile, s.variant, s.scorer, s.setting, s.gap, s.part, s.steps)
