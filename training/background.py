"""What goes on beside the event loop's own course: blocking code in threads, and tasks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from shared.progress import Progress, Task

T = TypeVar("T")


class _Stopped(BaseException):
    """Unwinds the worker thread; a BaseException so that no handler takes it for a failure."""


class _StoppableTask:
    def __init__(self, inner: Task, stop: threading.Event) -> None:
        self._inner, self._stop = inner, stop

    def advance(self, amount: int = 1, note: str = "") -> None:
        if self._stop.is_set():
            raise _Stopped
        self._inner.advance(amount, note)


class _StoppableProgress:
    def __init__(self, inner: Progress, stop: threading.Event) -> None:
        self._inner, self._stop = inner, stop

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        with self._inner.task(label, total) as inner:
            yield _StoppableTask(inner, self._stop)


async def in_thread(work: Callable[[Progress], T], progress: Progress) -> T:
    """The result of ``work``, run in a thread of its own.

    Cancelling stops the work the next time it reports progress, and waits for that: no thread goes
    on computing after this call has ended.
    """
    stop = threading.Event()

    def stoppable() -> T | None:
        try:
            return work(_StoppableProgress(progress, stop))
        except _Stopped:
            return None

    running = asyncio.ensure_future(asyncio.to_thread(stoppable))
    try:
        result = await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([running])
        raise
    return result  # type: ignore[return-value]  # None only after a cancellation


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """``work`` as a task that goes on during the block, and ends with it.

    Its errors are raised only to those who ask the task for its result.
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def cores() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
