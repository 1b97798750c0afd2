"""Frontier: what the scorers of an experiment reach for their calls, against a baseline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from experiments.curves import Curves
from experiments.panel import Panel
from experiments.record import Figure, no_figure
from experiments.selection import Selector
from shared.statistics import Float, Resampler, percentile_estimate
from shared.strict import Strict

AREA, AREA_GAIN = "area", "area-gain"
GAIN, NEEDED = "gain", "calls-needed"  # at a level, e.g. gain-010


class Frontier(Strict):
    """Scorers over the settings FAMILY-NNN, seen as one curve each.

    Attributes:
        family: of settings.
        baseline: the scorer they are compared with, over ``baseline_family`` (``family`` if unset).
        ends: scorers whose points belong to every curve: any scorer can also do as they do.
        bounds: scorers that nobody can run; their curves end where their own points do.
        levels: calls per request of the baseline at which curves are compared.
    """

    label: str
    family: str
    baseline: str
    baseline_family: str | None = None
    ends: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    levels: tuple[float, ...] = Field(default=(0.05, 0.1, 0.2))


def key(profile: str, variant: str, frontier: str, scorer: str, quantity: str) -> str:
    return "/".join((profile, variant, frontier, scorer, quantity))


def at_level(quantity: str, level: float) -> str:
    """Name of a quantity at a level, e.g. gain-010 at 10 %."""
    return f"{quantity}-{round(100 * level):03d}"


@dataclass(frozen=True)
class _Points:
    """One scorer's points; registered with the resampler."""

    scorer: str
    values: Float  # [2, P] calls and NDCG@10 over all users
    handles: tuple[tuple[int, int], ...]  # [P] of calls and NDCG@10
    steps: int

    def joined(self, others: Sequence[_Points]) -> _Points:
        values = np.concatenate([self.values, *(o.values for o in others)], axis=1)
        handles = self.handles + tuple(h for o in others for h in o.handles)
        return _Points(self.scorer, values, handles, self.steps)

    def curves(self, resampler: Resampler) -> Curves:
        """First the curve itself, then those of the resamples."""
        calls, quality = (
            np.column_stack([resampler.resampled(pair[which]) for pair in self.handles])
            for which in (0, 1)
        )
        # A resample without any scored user has no means.
        usable = np.isfinite(calls).all(1) & np.isfinite(quality).all(1)
        return Curves.fitted(
            np.vstack([self.values[0], calls[usable]]), np.vstack([self.values[1], quality[usable]])
        )


def compare(
    name: str, frontier: Frontier, panel: Panel, resampler: Resampler
) -> Iterator[Callable[[], dict[str, Figure]]]:
    """Register every point now; each of the callables then reads one scorer's figures."""
    places = dict.fromkeys((g.profile, g.variant) for g in panel.groups())
    for profile, variant in places:
        family = frontier.baseline_family or frontier.family
        mine = _points(panel, resampler, profile, variant, frontier.family)
        theirs = mine
        if family != frontier.family:
            theirs = _points(panel, resampler, profile, variant, family)
        base = theirs.get(frontier.baseline)
        if base is None:
            continue
        base = base.joined([theirs[end] for end in frontier.ends if end in theirs])
        ends = [mine[end] for end in frontier.ends if end in mine]
        for scorer, points in mine.items():
            if scorer in frontier.ends or points.values.shape[1] < 2:
                continue
            free = [e for e in ends if e.scorer == frontier.ends[0]]
            whole = points.joined(free if scorer in frontier.bounds else ends)
            yield _reader(name, frontier, (profile, variant), whole, base, resampler)


def _reader(
    name: str,
    frontier: Frontier,
    place: tuple[str, str],
    points: _Points,
    base: _Points,
    resampler: Resampler,
) -> Callable[[], dict[str, Figure]]:
    def read() -> dict[str, Figure]:
        ours, theirs = points.curves(resampler), base.curves(resampler)
        worthless: set[str] = set()
        found = {AREA: ours.area(), AREA_GAIN: ours.area() - theirs.area()}
        for level in frontier.levels:
            reached = theirs.quality_at(level)
            found[at_level(GAIN, level)] = ours.quality_at(level) - reached
            found[at_level(NEEDED, level)] = ours.calls_for(reached) / level
            if _buys_nothing(reached - theirs.quality_at(0.0)):
                worthless.add(at_level(NEEDED, level))
        return {
            key(*place, name, points.scorer, quantity): (
                no_figure(points.steps) if quantity in worthless else _figure(values, points.steps)
            )
            for quantity, values in found.items()
        }

    return read


def _buys_nothing(bought: Float) -> bool:
    """Whether the baseline's calls are not sure to buy anything: then a share of them says nothing.

    A fitted curve never falls, so the resamples' differences are never below zero.
    """
    return float(np.quantile(bought[1:], 0.025)) <= 0.0


def _figure(values: Float, steps: int) -> Figure:
    return Figure(**percentile_estimate(float(values[0]), values[1:], steps).row())


def _points(
    panel: Panel, resampler: Resampler, profile: str, variant: str, family: str
) -> dict[str, _Points]:
    """By scorer: its points over the settings of a family."""
    pattern = re.compile(re.escape(family) + r"-\d{3}")
    found: dict[str, list[Selector]] = {}
    for group in panel.groups():
        here = (group.profile, group.variant) == (profile, variant)
        counts = group.part == "all" and group.steps == "last"
        if here and counts and pattern.fullmatch(group.setting):
            found.setdefault(group.scorer, []).append(Selector(**group._asdict()))
    return {name: _registered(panel, resampler, name, all_) for name, all_ in found.items()}


def _registered(
    panel: Panel, resampler: Resampler, scorer: str, selectors: Sequence[Selector]
) -> _Points:
    values, handles, steps = [], [], 0
    for selector in selectors:
        seeds = panel.seeds(selector)
        both = [selector.model_copy(update={"metric": m}) for m in ("calls", "ndcg10")]
        sums = [panel.by_seed(one, seeds) for one in both]
        values.append([panel.value(one, seeds) or 0.0 for one in both])
        first, second = (resampler.add_sums(*pair) for pair in sums)
        handles.append((first, second))
        steps = round(float(sums[0][1].sum()) / len(seeds))
    return _Points(scorer, np.array(values).T, tuple(handles), steps)
