"""History: the events a device keeps, as columns, and the moment of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from device_runtime.state.item_sets import distinct

HOURS_PER_WEEK = 168.0
_FIRST_CAPACITY = 16


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The moment of a request, and what the user typed.

    Attributes:
        time: Unix seconds, or None when the log has an order only.
        hour_of_week: local hour in [0, 168), Monday 00:00 = 0; 0 without times.
        query: natural-language query, "" when there is none.
        session_events: events of the present session (a dialogue, a visit) so far, None where
            sessions are not told apart.
    """

    time: float | None
    hour_of_week: float
    query: str = ""
    session_events: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Events in a row, oldest first: views, which later events do not change.

    Attributes:
        items: [L] int32 item indices.
        time: [L] float64 Unix seconds, NaN where unknown.
        hour: [L] float32 local hour of week.
    """

    items: NDArray[np.int32]
    time: NDArray[np.float64]
    hour: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.items)

    def latest(self, most: int) -> Window:
        """The last ``most`` of them, as views: at no cost, however many there are."""
        part = slice(max(0, len(self) - most), None)
        return Window(self.items[part], self.time[part], self.hour[part])


class History:
    """A device's own events, oldest first.

    Args:
        window: events the encoder sees (W).
        retain: "all" keeps every event; "window" forgets what the encoder no longer sees, in
            constant memory.
    """

    def __init__(self, window: int, retain: Literal["window", "all"] = "all") -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        self._window = window
        self._bounded = retain == "window"
        self._start = self._stop = self._total = 0
        self._items = np.empty(_FIRST_CAPACITY, dtype=np.int32)
        self._time = np.empty(_FIRST_CAPACITY, dtype=np.float64)
        self._hour = np.empty(_FIRST_CAPACITY, dtype=np.float32)

    def __len__(self) -> int:
        """Events retained."""
        return self._stop - self._start

    @property
    def total(self) -> int:
        """Events ever seen, forgotten and unknown ones included: the user's step t."""
        return self._total

    @property
    def items(self) -> NDArray[np.int32]:
        """[n] int32 items of all retained events (a view)."""
        return self._items[self._start : self._stop]

    @property
    def events(self) -> Window:
        """All retained events."""
        part = slice(self._start, self._stop)
        return Window(self._items[part], self._time[part], self._hour[part])

    @property
    def distinct(self) -> NDArray[np.int32]:
        """[m] int32 distinct retained items, ascending."""
        return distinct(self.items)

    def append(self, item: int, time: float | None, hour: float) -> float:
        """Add the newest event; returns the hour of the week as it is kept.

        Args:
            item: item index, >= 0.
            time: Unix seconds or None.
            hour: local hour of week; taken modulo 168, 0 when not finite.
        """
        if self._stop == len(self._items):
            self._make_room()
        self._items[self._stop] = item
        self._time[self._stop] = math.nan if time is None else time
        self._hour[self._stop] = hour % HOURS_PER_WEEK if math.isfinite(hour) else 0.0
        self._stop += 1
        self._total += 1
        if self._bounded and len(self) > self._window:
            self._start += 1
        return float(self._hour[self._stop - 1])

    def skip(self) -> None:
        """Count an event whose item cannot be used (unknown to the bundle)."""
        self._total += 1

    def window(self) -> Window:
        """The last ``min(n, W)`` events."""
        part = slice(max(self._start, self._stop - self._window), self._stop)
        return Window(self._items[part], self._time[part], self._hour[part])

    def _make_room(self) -> None:
        """Move the retained events to the front of arrays with room for as many again."""
        kept = slice(self._start, self._stop)
        capacity = max(_FIRST_CAPACITY, 2 * len(self))
        for name in ("_items", "_time", "_hour"):
            old = getattr(self, name)
            new = np.empty(capacity, dtype=old.dtype)
            new[: len(self)] = old[kept]
            setattr(self, name, new)
        self._start, self._stop = 0, len(self)
