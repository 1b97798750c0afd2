"""LogSource: what is said of a log that can be named instead of brought."""

from __future__ import annotations

from dataclasses import dataclass

MIN_EVENTS = 5


@dataclass(frozen=True, slots=True)
class LogSource:
    """A known log.

    Attributes:
        name: what ``log.name`` calls it.
        title: one line for lists.
        terms: its terms of use, printed wherever it is used.
        origin: where it comes from, in words.
        fetchable: whether `scalrec data fetch` can get it.
        min_events: users with fewer are left out unless ``log.min_events`` says otherwise.
    """

    name: str
    title: str
    terms: str
    origin: str
    fetchable: bool
    min_events: int = MIN_EVENTS
