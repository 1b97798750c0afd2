"""Moments of the week in words: the only times an abstract tells."""

from __future__ import annotations

import math
from typing import Final

WEEKDAYS: Final = (*("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),)
DAY_PARTS: Final = (  # first hour of each part of the day
    (0, "night"),
    (5, "early morning"),
    (8, "morning"),
    (11, "midday"),
    (14, "afternoon"),
    (17, "evening"),
    (21, "late evening"),
)
_WEEKEND = 5  # first day of it
_HOURS = 24 * len(WEEKDAYS)


def moment_in_words(hour_of_week: float) -> str:
    """ "Friday evening" from a local hour of week (Monday 00:00 = 0)."""
    day, hour = divmod(_hour(hour_of_week), 24)
    return f"{WEEKDAYS[day]} {_day_part(hour)}"


def slot_in_words(hour_of_week: float) -> str:
    """ "weekday morning" or "weekend evening": the unit habits are told in."""
    return _SLOTS[_hour(hour_of_week)]


def _hour(hour_of_week: float) -> int:
    """Whole hour in [0, 168); 0 where the moment is not finite."""
    return math.floor(hour_of_week) % _HOURS if math.isfinite(hour_of_week) else 0


def _day_part(hour: int) -> str:
    return next(name for first, name in reversed(DAY_PARTS) if hour >= first)


_SLOTS: Final = tuple(
    f"{'weekend' if hour // 24 >= _WEEKEND else 'weekday'} {_day_part(hour % 24)}"
    for hour in range(_HOURS)
)
