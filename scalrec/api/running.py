"""Run a job that is a coroutine from plain code, in a program or in a notebook."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")


def run_job(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, however it takes.

    In a notebook, where an event loop runs already, it has a thread and a loop of its own; the
    caller waits all the same. An interrupt cancels it, and it then ends in order.
    """
    # As in scalrec/__main__.py: read by torch's thread library when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not loop_runs():
        return asyncio.run(work)
    return _in_thread(work)


def loop_runs() -> bool:
    """Whether this thread runs an event loop, as a notebook's does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    tasks: list[asyncio.Task[Any]] = []

    async def named() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine of asyncio.run has one
        tasks.append(task)
        return await work

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, named())
        try:
            return running.result()
        except KeyboardInterrupt:
            for task in tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)
            wait([running])
            raise
