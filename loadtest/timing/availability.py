"""When the cloud can be reached during a replay."""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from loadtest.settings import AvailabilitySettings
from shared.errors import ConfigError, DataError


class Availability(Protocol):
    """The cloud's presence over replay time; a pure function of it, so every run agrees."""

    def is_up(self, t: float) -> bool:
        """Whether the cloud can be reached ``t`` seconds into the replay."""

    def intervals(self, until: float) -> list[tuple[float, float]]:
        """Outages [start, end) that begin before ``until``, in order; ends are cut at ``until``."""


class AlwaysUp:
    """The cloud never goes away."""

    def is_up(self, t: float) -> bool:
        return True

    def intervals(self, until: float) -> list[tuple[float, float]]:
        return []


class NeverUp:
    """There is no cloud."""

    def is_up(self, t: float) -> bool:
        return False

    def intervals(self, until: float) -> list[tuple[float, float]]:
        return [(0.0, until)] if until > 0 else []


class PeriodicOutage:
    """Down for the last ``outage_s`` seconds of every ``period_s``: first up, then down, repeat.

    Raises:
        ConfigError: an outage longer than its period.
    """

    def __init__(self, period_s: float, outage_s: float) -> None:
        if not 0 <= outage_s <= period_s or period_s <= 0:
            raise ConfigError(
                f"replay.availability: an outage of {outage_s} s does not fit into a period of "
                f"{period_s} s"
            )
        self.period_s = period_s
        self.outage_s = outage_s

    def is_up(self, t: float) -> bool:
        return math.fmod(max(t, 0.0), self.period_s) < self.period_s - self.outage_s

    def intervals(self, until: float) -> list[tuple[float, float]]:
        if self.outage_s == 0:
            return []
        up = self.period_s - self.outage_s
        starts = (n * self.period_s + up for n in range(math.ceil(until / self.period_s)))
        return [(start, min(start + self.outage_s, until)) for start in starts if start < until]


class Outages:
    """Down in the given intervals [start, end), seconds; they may overlap and come in any order."""

    def __init__(self, intervals: Iterable[tuple[float, float]]) -> None:
        merged: list[tuple[float, float]] = []
        for start, end in sorted((start, end) for start, end in intervals if end > start):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self._intervals = merged
        self._starts = [start for start, _ in merged]

    def is_up(self, t: float) -> bool:
        place = bisect_right(self._starts, t) - 1
        return place < 0 or t >= self._intervals[place][1]

    def intervals(self, until: float) -> list[tuple[float, float]]:
        return [(start, min(end, until)) for start, end in self._intervals if start < until]


def random_on_off(
    availability: float, mean_outage_s: float, until: float, rng: np.random.Generator
) -> Outages:
    """A two-state Markov chain in continuous time, begun in its stationary distribution.

    Times up and down are exponential (Gilbert's model of a channel in bursts, 1960); their means
    are set so that the cloud is up the wanted share of the time in the long run.

    Args:
        availability: share of time the cloud is up, in (0, 1).
        mean_outage_s: mean seconds of one outage.
        until: seconds to draw for.
        rng: drawn from once per change.

    Raises:
        ConfigError: the share is not within (0, 1), or the mean is not positive.
    """
    if not 0.0 < availability < 1.0 or mean_outage_s <= 0:
        raise ConfigError(
            f"random outages need an availability between 0 and 1 and a positive mean length, not "
            f"{availability:g} and {mean_outage_s:g} s"
        )
    mean_up_s = mean_outage_s * availability / (1.0 - availability)
    up, t, outages = bool(rng.random() < availability), 0.0, []
    while t < until:
        lasts = float(rng.exponential(mean_up_s if up else mean_outage_s))
        if not up:
            outages.append((t, t + lasts))
        t, up = t + lasts, not up
    return Outages(outages)


def recorded_trace(path: Path, until: float) -> Outages:
    """Outages of a recorded trace: a CSV with columns ``time_s,up``, one row per change.

    Before its first row the cloud is up; a trace that ends before ``until`` is repeated.

    Raises:
        DataError: the file cannot be read, its times do not grow, or ``up`` is not 0 or 1.
    """
    changes: list[tuple[float, bool]] = []
    try:
        with path.open(newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), 2):
                try:
                    at, up = float(row["time_s"]), {"0": False, "1": True}[row["up"].strip()]
                except (KeyError, ValueError, TypeError, AttributeError) as error:
                    raise DataError(
                        "expected columns time_s (seconds) and up (0 or 1)", path, number
                    ) from error
                if not math.isfinite(at) or at < 0 or (changes and at <= changes[-1][0]):
                    raise DataError("times must be finite and grow from row to row", path, number)
                changes.append((at, up))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the availability trace: {error}", path) from error
    if len(changes) < 2:
        raise DataError("a trace needs two changes at least", path)
    length = changes[-1][0]
    outages = []
    for n in range(math.ceil(until / length)):
        for (start, up), (end, _) in pairwise(changes):
            if not up:
                outages.append((n * length + start, n * length + end))
    return Outages(outages)


def availability_of(settings: AvailabilitySettings) -> Availability:
    """The availability that the settings describe; raises ConfigError if it is impossible."""
    if settings.kind == "always":
        return AlwaysUp()
    if settings.kind == "never":
        return NeverUp()
    return PeriodicOutage(settings.period_s, settings.outage_s)
