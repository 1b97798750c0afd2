"""An availability that somebody may overrule while the replay runs."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Literal

from loadtest.timing.availability import Availability

Mode = Literal["planned", "up", "down"]


class SwitchedAvailability:
    """Another availability until it is switched; what was switched stays true of the past.

    Args:
        planned: followed as long as nobody interferes, and again after ``switch("planned", t)``.
    """

    def __init__(self, planned: Availability) -> None:
        self._planned = planned
        self._since: list[float] = [0.0]
        self._modes: list[Mode] = ["planned"]

    @property
    def mode(self) -> Mode:
        """What is in force now."""
        return self._modes[-1]

    @property
    def by_hand(self) -> Availability:
        """What was switched and nothing else: up wherever the plan is followed."""
        return _ByHand(self)

    def switch(self, mode: Mode, t: float) -> None:
        """From ``t`` seconds into the replay on; raises ValueError if ``t`` lies in the past."""
        if t < self._since[-1]:
            raise ValueError(f"switched at {self._since[-1]} s already, after {t} s")
        self._since.append(t)
        self._modes.append(mode)

    def mode_at(self, t: float) -> Mode:
        """What was in force at ``t`` seconds."""
        return self._modes[max(0, bisect_right(self._since, t) - 1)]

    def is_up(self, t: float) -> bool:
        mode = self.mode_at(t)
        return self._planned.is_up(t) if mode == "planned" else mode == "up"

    def intervals(self, until: float) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for (start, end), mode in zip(
            pairwise([*self._since, max(until, self._since[-1])]), self._modes, strict=True
        ):
            for a, b in self._down(mode, start, min(end, until)):
                if found and found[-1][1] == a:
                    a = found.pop()[0]
                found.append((a, b))
        return found

    def _down(self, mode: Mode, start: float, end: float) -> list[tuple[float, float]]:
        """Outages within [start, end) under one mode."""
        if mode == "up" or end <= start:
            return []
        if mode == "down":
            return [(start, end)]
        return [
            (max(a, start), min(b, end))
            for a, b in self._planned.intervals(end)
            if max(a, start) < min(b, end)
        ]


class _ByHand:
    def __init__(self, switched: SwitchedAvailability) -> None:
        self._switched = switched

    def is_up(self, t: float) -> bool:
        return self._switched.mode_at(t) != "down"

    def intervals(self, until: float) -> list[tuple[float, float]]:
        return [(a, b) for a, b in self._switched.intervals(until) if not self.is_up(a)]
