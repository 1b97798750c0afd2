"""An availability that knows better than its plan: a cloud that is seen to be gone is not there."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.timing.availability import Availability


class SeenAvailability:
    """Up where the plan says so and the cloud is found there; only for moments that are now.

    Args:
        planned: what was planned, or switched by hand.
        there: whether the cloud is found there; None: nobody looks.
    """

    def __init__(self, planned: Availability, there: Callable[[], bool] | None) -> None:
        self._planned = planned
        self._there = there

    def is_up(self, t: float) -> bool:
        return self._planned.is_up(t) and (self._there is None or self._there())

    def intervals(self, until: float) -> list[tuple[float, float]]:
        """Of the plan: what was seen is in the records."""
        return self._planned.intervals(until)
