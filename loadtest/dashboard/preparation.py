"""Preparation: what a run does before its replay begins, for the page to show."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from shared.progress import Progress, Task

MOST_STEPS = 40
SURE_AFTER_S = 2.0  # before that, the time left is a guess


@dataclass
class _Work:
    label: str
    total: int | None
    began: float
    done: int = 0
    note: str = ""
    ended: float | None = None

    def drawn(self, now: float) -> dict[str, Any]:
        took = (now if self.ended is None else self.ended) - self.began
        left = None
        if self.ended is None and self.total and self.done and took >= SURE_AFTER_S:
            left = round(took / self.done * max(0, self.total - self.done))
        return {
            "label": self.label,
            "done": self.done,
            "total": self.total,
            "note": self.note,
            "seconds": round(took),
            "left_s": left,
            "over": self.ended is not None,
        }


class Preparation:
    """The latest pieces of work of a process. Methods may be called from any thread.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._works: deque[_Work] = deque(maxlen=MOST_STEPS)

    def began(self, label: str, total: int | None) -> _Work:
        with self._lock:
            work = _Work(label=label, total=total, began=self._now())
            self._works.append(work)
        return work

    def advanced(self, work: _Work, amount: int, note: str) -> None:
        with self._lock:
            work.done += amount
            work.note = note or work.note

    def ended(self, work: _Work) -> None:
        with self._lock:
            work.ended = self._now()

    def drawn(self) -> list[dict[str, Any]]:
        """The pieces of work as JSON values, oldest first; empty before the first."""
        with self._lock:
            now = self._now()
            return [work.drawn(now) for work in self._works]


class ShownProgress:
    """Progress that is drawn elsewhere, shown by a Preparation as well.

    Args:
        preparation: what the page reads.
        inner: where else the work is told.
    """

    def __init__(self, preparation: Preparation, inner: Progress) -> None:
        self._preparation, self._inner = preparation, inner

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        work = self._preparation.began(label, total)
        try:
            with self._inner.task(label, total) as inner:
                yield _ShownTask(self._preparation, work, inner)
        finally:
            self._preparation.ended(work)


class _ShownTask:
    def __init__(self, preparation: Preparation, work: _Work, inner: Task) -> None:
        self._preparation, self._work, self._inner = preparation, work, inner

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._inner.advance(amount, note)
        self._preparation.advanced(self._work, amount, note)
