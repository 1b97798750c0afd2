"""LogReading: what reading a log's source came to, in numbers; the log's notes say it in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReading:
    """Counts that cannot be had from the log any more.

    Attributes:
        rows: events of the source that could be used, before any was dropped.
        duplicates: rows that repeat user, item and time of another; None without times, where
            nothing tells a repeated row from a repeated event.
        duplicates_dropped: whether they were dropped.
        items_told: items of the log that the source or the items file describes; None where
            neither does.
        items_unused: items that are described and do not occur in the log.
    """

    rows: int
    duplicates: int | None
    duplicates_dropped: bool
    items_told: int | None
    items_unused: int = 0
