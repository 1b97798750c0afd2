"""DecayedCounts: how often each own item was met, recent events counting more."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.int32]


class DecayedCounts:
    """n_i = sum over the retained events j of item i of 2^(-age_j / half_life).

    Age is counted in events of the user: the last one has age 0, and events of unknown items age
    the others too. Each item's count is kept as it was at the item's last event, so nothing grows
    beyond 1 / (1 - 2^(-1 / half_life)), an event costs the same however many came before, and
    the answer is the sum itself but for rounding.

    Args:
        half_life: > 0, in events.
        window: latest events of known items that are retained; None: all.
    """

    def __init__(self, half_life: float, window: int | None = None) -> None:
        if half_life <= 0:
            raise ValueError(f"half_life must be above 0, not {half_life}")
        self._half_life, self._window = half_life, window
        self._events: deque[tuple[int, int]] = deque()  # (item, step), with a window alone
        self._step = 0  # t
        self._items = np.empty(0, np.int32)  # [m] ascending
        self._counts = np.empty(0, np.float64)  # [m] at the item's last event
        self._last = np.empty(0, np.int64)  # [m] step of that

    def observe(self, item: int | None) -> None:
        """Count the user's newest event; None if its item is unknown to the bundle."""
        step = self._step
        self._step += 1
        if item is None:
            return
        place = int(np.searchsorted(self._items, item))
        if place < len(self._items) and self._items[place] == item:
            passed = step - int(self._last[place])
            self._counts[place] = self._counts[place] * self._kept(passed) + 1.0
            self._last[place] = step
        else:
            self._items = np.insert(self._items, place, item)
            self._counts = np.insert(self._counts, place, 1.0)
            self._last = np.insert(self._last, place, step)
        if self._window is not None:
            self._events.append((item, step))
            if len(self._events) > self._window:
                self._forget(self._events.popleft()[0])

    def now(self) -> tuple[Items, NDArray[np.float64]]:
        """Items [m] with a retained event, ascending, and their counts n_i [m] at present."""
        age = self._step - 1 - self._last
        return self._items, self._counts * np.exp2(age * (-1.0 / self._half_life))

    def _forget(self, item: int) -> None:
        """One event of ``item`` is gone: sum up those left, as a difference would keep residues."""
        place = int(np.searchsorted(self._items, item))
        left = [step for other, step in self._events if other == item]
        if left:
            self._counts[place] = sum(self._kept(left[-1] - step) for step in left)
            return
        self._items = np.delete(self._items, place)
        self._counts = np.delete(self._counts, place)
        self._last = np.delete(self._last, place)

    def _kept(self, events: int) -> float:
        """What is left of a count after so many events."""
        return float(2.0 ** (-events / self._half_life))
