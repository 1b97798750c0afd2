"""Moments in words, rough on purpose: weekday and part of the day."""

from __future__ import annotations

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY_PARTS = (  # first hour of each part of the day
    (0, "night"),
    (5, "early morning"),
    (8, "morning"),
    (11, "midday"),
    (14, "afternoon"),
    (17, "evening"),
    (21, "late evening"),
)
_WEEKEND = 5  # first day of it


def moment_in_words(hour_of_week: float) -> str:
    """ "Friday evening" from a local hour of week (Monday 00:00 = 0)."""
    day, hour = _day_and_hour(hour_of_week)
    return f"{WEEKDAYS[day]} {_day_part(hour)}"


def slot_in_words(hour_of_week: float) -> str:
    """ "weekday morning" or "weekend evening": the unit habits are told in."""
    day, hour = _day_and_hour(hour_of_week)
    return f"{'weekend' if day >= _WEEKEND else 'weekday'} {_day_part(hour)}"


def _day_and_hour(hour_of_week: float) -> tuple[int, int]:
    return divmod(int(hour_of_week % (24 * len(WEEKDAYS))), 24)


def _day_part(hour: int) -> str:
    return next(name for first, name in reversed(DAY_PARTS) if hour >= first)
