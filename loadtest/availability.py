"""When the cloud can be reached during a replay."""

from __future__ import annotations

import math
from typing import Protocol

from shared.errors import ConfigError
from shared.settings import AvailabilitySettings


class Availability(Protocol):
    """The cloud's presence over replay time; a pure function of it, so every run agrees."""

    def is_up(self, t: float) -> bool:
        """Whether the cloud can be reached ``t`` seconds into the replay."""

    def intervals(self, until: float) -> list[tuple[float, float]]:
        """Outages [start, end) that begin before ``until``, in order; ends are cut at ``until``."""


class Always:
    """The cloud never goes away."""

    def is_up(self, t: float) -> bool:
        return True

    def intervals(self, until: float) -> list[tuple[float, float]]:
        return []


class Never:
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


def availability_of(settings: AvailabilitySettings) -> Availability:
    """The availability that the settings describe; raises ConfigError if it is impossible."""
    if settings.kind == "always":
        return Always()
    if settings.kind == "never":
        return Never()
    return PeriodicOutage(settings.period_s, settings.outage_s)
