"""Estimates, paired differences and ratios, each with a user-clustered bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.frontiers import compare
from experiments.panel import Panel
from experiments.record import Figure, no_figure
from experiments.selection import (
    Contrast,
    Operand,
    Place,
    Ratio,
    Scope,
    ScoreSelection,
    Selector,
    within,
)
from experiments.spec import Experiment
from shared.statistics import Float, Resampler, percentile_estimate

DRAWS = 2000


@dataclass(frozen=True)
class Estimates:
    """Figures by key (see ``Place.key``), and how many differences compare unequal steps."""

    estimates: dict[str, Figure]
    differences: dict[str, Figure]
    ratios: dict[str, Figure]
    frontiers: dict[str, Figure]
    unequal: int


@dataclass(frozen=True)
class _Contrast:
    """The two sides of a contrast at a place, over the seeds both have."""

    a: Selector
    b: Selector
    seeds: tuple[int, ...]


def estimate(experiment: Experiment, panel: Panel, *, draws: int = DRAWS) -> Estimates:
    """Everything the experiment asks of the scores; deterministic.

    All intervals come from the same resampled users and seeds, so a difference is paired by both,
    and by step where both sides scored the same steps. With one seed an interval holds the users'
    spread alone; with few, that of seeds is a rough one.
    """
    return _Estimation(experiment=experiment, panel=panel, draws=draws).run()


@dataclass
class _Estimation:
    experiment: Experiment
    panel: Panel
    draws: int
    _handles: dict[tuple[Selector, tuple[int, ...]], int] = field(default_factory=dict)
    _unequal: int = 0

    def __post_init__(self) -> None:
        self._resampler = Resampler(np.arange(self.panel.users), draws=self.draws)

    def run(self) -> Estimates:
        # First everything is registered, then read: the resamples are drawn once for all.
        estimates = [(s.key(s.scorer), self._estimate(s)) for s in self._all_selectors()]
        differences = [
            (place.key(name), self._difference(difference.between(), place))
            for name, difference in self.experiment.differences.items()
            for place in self._places(difference)
        ]
        ratios = [
            (place.key(name), self._ratio(ratio, place))
            for name, ratio in self.experiment.ratios.items()
            for place in self._places(ratio)
        ]
        curves = [
            reader
            for name, frontier in self.experiment.frontiers.items()
            for reader in compare(name, frontier, self.panel, self._resampler)
        ]
        return Estimates(
            estimates=_read(estimates),
            differences=_read(differences),
            ratios=_read(ratios),
            frontiers={key: figure for reader in curves for key, figure in reader().items()},
            unequal=self._unequal,
        )

    def _all_selectors(self) -> Iterator[Selector]:
        for scores in self.experiment.estimates:
            yield from self._selectors(scores)

    def _selectors(self, scores: ScoreSelection) -> Iterator[Selector]:
        for place in self._places(scores):
            scorers = dict.fromkeys(g.scorer for g in self.panel.groups())
            for scorer in scorers:
                if scores.scorers is None or scorer in scores.scorers:
                    yield Selector(**place.model_dump(), scorer=scorer)

    def _places(self, scope: Scope) -> Iterator[Place]:
        """Places of the scope at which there is any score."""
        found = dict.fromkeys(group._replace(scorer="") for group in self.panel.groups())
        for group in found:
            at = group._asdict()
            del at["scorer"]
            if within(scope, at):
                for metric in scope.metrics:
                    yield Place(**at, metric=metric)

    def _estimate(self, selector: Selector) -> Callable[[], Figure] | None:
        seeds = self._seeds(selector)
        if not seeds:
            return None
        handle = self._handle(selector, seeds)
        value = self.panel.value(selector, seeds)
        spread = self._spread(seeds, lambda seed: self.panel.value(selector, [seed]))
        steps = self._steps(selector, seeds)

        def read() -> Figure:
            resampled = self._resampler.resampled(handle)
            found = percentile_estimate(value or 0.0, resampled, steps)
            return Figure(**found.row(), spread=spread)

        return read

    def _difference(self, contrast: Contrast, place: Place) -> Callable[[], Figure] | None:
        pair = self._pair(contrast, place)
        if pair is None:
            return None
        a, b = (self._handle(side, pair.seeds) for side in (pair.a, pair.b))
        value = self._gap_between(pair, pair.seeds)
        base = self.panel.value(pair.b, pair.seeds) or 0.0
        spread = self._spread(pair.seeds, lambda seed: self._gap_between(pair, [seed]))
        steps = self._steps(pair.a, pair.seeds)
        self._unequal += not self._same_steps(pair)

        def read() -> Figure:
            ours, theirs = self._resampler.resampled(a), self._resampler.resampled(b)
            found = percentile_estimate(value, ours - theirs, steps)
            relative = None
            if base > 0:
                share = percentile_estimate(value / base, _divided(ours - theirs, theirs), steps)
                if share.value is not None and share.low is not None and share.high is not None:
                    relative = (share.value, share.low, share.high)
            against = pair.b.scorer if contrast.b.best_of else None
            return Figure(**found.row(), spread=spread, relative=relative, against=against)

        return read

    def _ratio(self, ratio: Ratio, place: Place) -> Callable[[], Figure] | None:
        above, below = self._pair(ratio.numerator, place), self._pair(ratio.denominator, place)
        if above is None or below is None:
            return None
        seeds = tuple(sorted({*above.seeds} & {*below.seeds}))
        if not seeds:
            return None
        sides = [self._handle(s, seeds) for s in (above.a, above.b, below.a, below.b)]
        numerator, denominator = (self._gap_between(pair, seeds) for pair in (above, below))
        steps = self._steps(above.a, seeds)

        def read() -> Figure:
            a, b, c, d = (self._resampler.resampled(side) for side in sides)
            base = percentile_estimate(denominator, c - d, steps)
            if base.low is None or base.low <= 0:
                return no_figure(steps)
            found = percentile_estimate(numerator / denominator, _divided(a - b, c - d), steps)
            return Figure(**found.row())

        return read

    def _pair(self, contrast: Contrast, place: Place) -> _Contrast | None:
        """Both sides of a contrast here; None where one was not scored, or both are the same."""
        a, b = self._resolve(contrast.a, place), self._resolve(contrast.b, place)
        if a is None or b is None or a == b:
            return None
        seeds = tuple(self.panel.seeds(a, b))
        return _Contrast(a, b, seeds) if seeds and self._steps(a, seeds) else None

    def _resolve(self, operand: Operand, place: Place) -> Selector | None:
        there = [place.of(operand, scorer) for scorer in operand.scorers]
        scored = [(s, self._seeds(s)) for s in there]
        scored = [(s, seeds) for s, seeds in scored if seeds]
        if not scored:
            return None
        return max(scored, key=lambda item: self.panel.value(*item) or 0.0)[0]

    def _handle(self, selector: Selector, seeds: tuple[int, ...]) -> int:
        if (selector, seeds) not in self._handles:
            sums, counts = self.panel.by_seed(selector, seeds)
            self._handles[selector, seeds] = self._resampler.add_sums(sums, counts)
        return self._handles[selector, seeds]

    def _seeds(self, selector: Selector) -> tuple[int, ...]:
        seeds = tuple(self.panel.seeds(selector))
        return seeds if seeds and self._steps(selector, seeds) else ()

    def _gap_between(self, pair: _Contrast, seeds: Sequence[int]) -> float:
        a, b = self.panel.value(pair.a, seeds), self.panel.value(pair.b, seeds)
        return float("nan") if a is None or b is None else a - b

    def _same_steps(self, pair: _Contrast) -> bool:
        a, b = (self.panel.sums(side, pair.seeds)[1] for side in (pair.a, pair.b))
        return np.array_equal(a, b)

    def _steps(self, selector: Selector, seeds: Sequence[int]) -> int:
        return round(float(self.panel.sums(selector, seeds)[1].sum()))

    def _spread(self, seeds: Sequence[int], value: Callable[[int], float | None]) -> float | None:
        values = [v for seed in seeds if (v := value(seed)) is not None]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _read(quantities: Sequence[tuple[str, Callable[[], Figure] | None]]) -> dict[str, Figure]:
    return {key: read() for key, read in quantities if read is not None}


def _divided(above: Float, below: Float) -> Float:
    """Quotients, NaN where nothing can be divided by; such resamples are left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Float = np.where(below > 0, above / below, np.nan)
    return quotient
