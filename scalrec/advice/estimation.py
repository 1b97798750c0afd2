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
from scalrec.advice.model import Figures, IntervalFigures, Setting
from shared.errors import DataError
from shared.profile import DeviceProfile
from shared.statistics import Estimate, Float, Resampler

INTERVALS = (1, 2, 5, 10, 20)
COUNTERS = ("popularity", "frequency", "decayed")  # each remembers as many events as the device
DRAWS = 2000
_PARTS: tuple[Part, ...] = ("return", "discovery")
_SEED, _VARIANT = 0, "base"


@dataclass(frozen=True)
class _Sums:
    """Sum of the metric and number of requests per user, both [users]."""

    values: Float
    counts: Float

    def minus(self, other: _Sums) -> _Sums:
        if not np.array_equal(self.counts, other.counts):
            raise DataError("two scorers were not scored on the same requests")
        return _Sums(self.values - other.values, self.counts)


def setting_of(profile: DeviceProfile) -> Setting:
    """How a device of this profile ranks with a cached snapshot."""
    if profile.table != "none" and profile.local_candidates > 0:
        return "S2_local"
    return "S2_history" if profile.unite_history else "S2"


def estimate(
    scores: pl.DataFrame,
    users: int,
    profile: DeviceProfile,
    *,
    intervals: Sequence[int] = INTERVALS,
    draws: int = DRAWS,
) -> Figures:
    """Figures of every interval whose ages lie within those that were scored.

    Args:
        scores: rows of ``experiments.study.SCHEMA``, of one cell.
        users: length of the log's user index.

    Raises:
        DataError: what the advice is made from was not scored, or on different requests.
    """
    return _AdviceEstimation(scores, users, profile, intervals, draws).run()


class _AdviceEstimation:
    def __init__(
        self,
        scores: pl.DataFrame,
        users: int,
        profile: DeviceProfile,
        intervals: Sequence[int],
        draws: int,
    ) -> None:
        self.profile, self.setting, self.draws = profile, setting_of(profile), draws
        self.panel = Panel(users)
        self.panel.add(profile.name, _VARIANT, _SEED, scores)
        found = scores.filter(setting=self.setting, scorer="calibrated")["gap"].unique()
        self.ages = tuple(sorted(found.to_list()))
        if not self.ages or self.ages[0] != 0:
            raise DataError(f"fresh snapshots were not scored in the setting {self.setting}")
        self.intervals = [k for k in intervals if k - 1 <= self.ages[-1]]
        self.alone = self._needed(("alone",), "structure", {0: 1.0})
        # Users without a scored request would only thin out the resamples.
        self.scored = self.alone.counts > 0
        self.resampler = Resampler(np.arange(int(self.scored.sum())), draws=draws)

    def run(self) -> Figures:
        # First everything is registered, then read: the resamples are drawn once for all.
        alone = self._add(self.alone)
        counters = {
            name: self._add(sums)
            for name in COUNTERS
            if (sums := self._sums(("alone",), name, {0: 1.0})) is not None
        }
        rows = [self._interval(interval) for interval in self.intervals]
        return Figures(
            setting=self.setting,
            ages=self.ages,
            users=int(self.scored.sum()),
            requests=round(float(self.alone.counts.sum())),
            alone=alone(),
            counters={name: read() for name, read in counters.items()},
            intervals=tuple(read() for read in rows),
        )

    def _interval(self, interval: int) -> Callable[[], IntervalFigures]:
        weights = scored_weights(ages_between_refreshes(interval), self.ages)
        here = (self.setting,)
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
        if self.profile.table != "none" and self.setting != "S2_local":
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
        # A device that re-retrieves from its whole table ranks, for the first places, all items;
        # without the cloud one with a table always does.
        local, table = self.setting == "S2_local", self.profile.table != "none"
        ours = self._sums((self.setting, *["full"] * local), "calibrated", weights, part)
        alone = self._sums(("alone", *["full"] * table), "structure", {0: 1.0}, part)
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
