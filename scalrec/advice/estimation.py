"""Expected NDCG@10 by refresh interval, from the scores of one cell.

Everything is a mean over requests of sums per user, so the mean over the ages of an interval is
taken within each user, and users are resampled afterwards: differences are paired by request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from experiments.panel import Panel
from experiments.selection import Part, Selector
from scalrec.advice.ages import ages_between_refreshes, scored_weights
from scalrec.advice.model import Figures, IntervalFigures
from shared.errors import DataError
from shared.profile import DeviceProfile
from shared.statistics import Estimate, Float, Resampler

INTERVALS = (1, 2, 5, 10, 20)
# What else a device could do by itself: counters over its window and (``_all``) over its whole
# history, its own score less some of its terms, and two structure models in place of one.
OPPONENTS = (
    "popularity", "frequency", "decayed", "frequency_all", "decayed_all", "structure", "counts",
    "words", "ensemble", "ensemble_counts",
)  # fmt: skip
DRAWS = 2000
_PARTS: tuple[Part, ...] = ("return", "discovery")
_FRESH = {0: 1.0}  # weights of ages: the snapshot is new, or its age does not matter
_SEED, _VARIANT = 0, "base"
_DEVICE, _ALONE = "device", "alone"  # settings: with a snapshot, and without any
_OWN = "student"  # scorer: what the device says without the cloud


@dataclass(frozen=True)
class _Sums:
    """Sum of the metric and number of requests per user, both [users]."""

    values: Float
    counts: Float

    @property
    def mean(self) -> float:
        return float(self.values.sum() / self.counts.sum()) if self.counts.any() else 0.0

    def minus(self, other: _Sums) -> _Sums:
        if not np.array_equal(self.counts, other.counts):
            raise DataError("two scorers were not scored on the same requests")
        return _Sums(self.values - other.values, self.counts)


def estimate(
    scores: pl.DataFrame,
    users: int,
    profile: DeviceProfile,
    *,
    fusion_weight: float | None = None,
    intervals: Sequence[int] = INTERVALS,
    draws: int = DRAWS,
) -> Figures:
    """Figures of every interval whose ages lie within those that were scored.

    Args:
        scores: rows of ``experiments.study.SCHEMA``, of one cell.
        users: length of the log's user index.
        fusion_weight: of the cell's model, if it is known.

    Raises:
        DataError: what the advice is made from was not scored, or on different requests.
    """
    return _AdviceEstimation(scores, users, profile, fusion_weight, intervals, draws).run()


class _AdviceEstimation:
    def __init__(
        self,
        scores: pl.DataFrame,
        users: int,
        profile: DeviceProfile,
        fusion_weight: float | None,
        intervals: Sequence[int],
        draws: int,
    ) -> None:
        self.profile, self.draws = profile, draws
        self.fusion_weight = fusion_weight
        self.panel = Panel(users)
        self.panel.add(profile.name, _VARIANT, _SEED, scores)
        found = scores.filter(setting=_DEVICE, scorer="calibrated")["gap"].unique()
        self.ages = tuple(sorted(found.to_list()))
        if not self.ages or self.ages[0] != 0:
            raise DataError(f"fresh snapshots were not scored in the setting {_DEVICE}")
        self.intervals = [k for k in intervals if k - 1 <= self.ages[-1]]
        self.alone = self._needed((_ALONE,), _OWN, _FRESH)
        scored = {name: self._sums((_ALONE,), name, _FRESH) for name in OPPONENTS}
        self.opponents = {name: sums for name, sums in scored.items() if sums is not None}
        means = {name: sums.mean for name, sums in self.opponents.items()}
        self.opponent = max(means, key=lambda name: means[name], default=None)
        # Users without a scored request would only thin out the resamples.
        self.scored = self.alone.counts > 0
        self.resampler = Resampler(np.arange(int(self.scored.sum())), draws=draws)

    def run(self) -> Figures:
        # First everything is registered, then read: the resamples are drawn once for all.
        alone = self._add(self.alone)
        fresh = self._add(self._needed((_DEVICE,), "fused", _FRESH).minus(self.alone))
        opponents = {name: self._add(sums) for name, sums in self.opponents.items()}
        rows = [self._interval(interval) for interval in self.intervals]
        return Figures(
            ages=self.ages,
            users=int(self.scored.sum()),
            requests=round(float(self.alone.counts.sum())),
            alone=alone(),
            fresh=fresh(),
            opponents={name: read() for name, read in opponents.items()},
            opponent=self.opponent,
            fusion_weight=self.fusion_weight,
            intervals=tuple(read() for read in rows),
        )

    def _interval(self, interval: int) -> Callable[[], IntervalFigures]:
        weights = scored_weights(ages_between_refreshes(interval), self.ages)
        here = (_DEVICE,)
        calibrated = self._needed(here, "calibrated", weights)
        uncalibrated = self._needed(here, "stale", weights)
        quantities = {
            "calibrated": calibrated,
            "uncalibrated": uncalibrated,
            "gain": calibrated.minus(self.alone),
            "uncalibrated_gain": uncalibrated.minus(self.alone),
            "calibration": calibrated.minus(uncalibrated),
        }
        if interval <= self.ages[-1]:
            late = scored_weights(ages_between_refreshes(interval, late=True), self.ages)
            quantities["late_gain"] = self._needed(here, "calibrated", late).minus(self.alone)
        if self.opponent is not None:
            quantities["over_opponent"] = calibrated.minus(self.opponents[self.opponent])
        if self.profile.table != "none" and not self.profile.local_candidates:
            local = self._sums(("S2_local",), "calibrated", weights)
            if local is not None:
                quantities["local_gain"] = local.minus(self.alone)
        found = {name: self._add(sums) for name, sums in quantities.items()}
        parts = {part: self._add(s) for part in _PARTS if (s := self._gain_of(part, weights))}
        return lambda: IntervalFigures(
            interval=interval,
            calls_per_1000=1000.0 / interval,
            weights=weights,
            gain_by_part={part: read() for part, read in parts.items()},
            **{name: read() for name, read in found.items()},
        )

    def _gain_of(self, part: Part, weights: Mapping[int, float]) -> _Sums | None:
        """The gain on returns or discoveries; None where they are not scored apart."""
        # Without the cloud a device with a table ranks, for the first places, all items.
        table = self.profile.table != "none"
        ours = self._sums((_DEVICE,), "calibrated", weights, part)
        alone = self._sums((_ALONE, *["full"] * table), _OWN, _FRESH, part)
        if ours is None or alone is None or not alone.counts.any():
            return None
        return ours.minus(alone)

    def _needed(self, settings: Sequence[str], scorer: str, weights: Mapping[int, float]) -> _Sums:
        found = self._sums(settings, scorer, weights)
        if found is None:
            raise DataError(f"{scorer} was not scored in the setting {settings[0]}")
        return found

    def _sums(
        self,
        settings: Sequence[str],
        scorer: str,
        weights: Mapping[int, float],
        part: Part = "all",
    ) -> _Sums | None:
        """The weighted mean over ages, in the first of these settings that has all of them."""
        for setting in settings:
            at = [self._selector(setting, scorer, age, part) for age in weights]
            if all(self.panel.seeds(selector) for selector in at):
                return self._mean(at, list(weights.values()))
        return None

    def _mean(self, at: Sequence[Selector], weights: Sequence[float]) -> _Sums:
        sums = [_Sums(*self.panel.sums(selector, [_SEED])) for selector in at]
        if any(not np.array_equal(s.counts, sums[0].counts) for s in sums):
            raise DataError("two ages were not scored on the same requests")
        values = sum(
            (weight * s.values for weight, s in zip(weights, sums, strict=True)),
            np.zeros(len(sums[0].values)),
        )
        return _Sums(values, sums[0].counts)

    def _selector(self, setting: str, scorer: str, age: int, part: Part) -> Selector:
        return Selector(
            profile=self.profile.name,
            variant=_VARIANT,
            setting=setting,
            gap=str(age),
            part=part,
            scorer=scorer,
        )

    def _add(self, sums: _Sums) -> Callable[[], Estimate]:
        handle = self.resampler.add_sums(sums.values[self.scored], sums.counts[self.scored])
        return lambda: self.resampler.mean(handle)
