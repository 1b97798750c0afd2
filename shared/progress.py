"""Progress: how long work reports itself, whatever draws it (a terminal, a log, nothing)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One running piece of work."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """``amount`` more units are done; ``note`` replaces the words beside the bar."""


class Progress(Protocol):
    """Where tasks are announced."""

    def task(self, label: str, total: int | None = None) -> AbstractContextManager[Task]:
        """Open a task of ``total`` units (None: unknown); leaving the block ends it."""


class NullTask:
    def advance(self, amount: int = 1, note: str = "") -> None:
        """Report to nobody."""


class NullProgress:
    """For tests and libraries: says nothing."""

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        yield NullTask()
