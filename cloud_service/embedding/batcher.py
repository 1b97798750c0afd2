"""Batcher: callers that come at the same time share one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")


@dataclass
class _Batch(Generic[T, V]):
    """Attributes: callers and what they asked for; timer until it leaves; task once it has."""

    items: list[T] = field(default_factory=list)
    answers: list[asyncio.Future[V]] = field(default_factory=list)
    timer: asyncio.Handle | None = None
    task: asyncio.Task[None] | None = None


class Batcher(Generic[T, V]):
    """Gathers single items and runs them together, each caller getting its own item's value.

    While nothing is under way an item leaves at the next turn of the event loop, so that a lone
    caller waits for nobody; else it waits ``wait_s`` at most for others to join.

    A caller that is cancelled leaves the others alone; when the last one of a batch leaves, the
    batch is cancelled. An error of a batch is nobody's in particular and reaches every caller.

    Args:
        run: values of items, in their order, as many as there are items.
        most: items in one batch; a full one leaves at once.
        wait_s: seconds.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[V]]],
        *,
        most: int,
        wait_s: float = 0.0,
    ):
        self._run = run
        self._most = most
        self._wait_s = wait_s
        self._open: _Batch[T, V] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def value(self, item: T) -> V:
        """The value of ``item``. Raises what ``run`` raised for it."""
        loop = asyncio.get_running_loop()
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            if self._wait_s and self._under_way:
                batch.timer = loop.call_later(self._wait_s, self._leave, batch)
            else:
                batch.timer = loop.call_soon(self._leave, batch)
        answer: asyncio.Future[V] = loop.create_future()
        batch.items.append(item)
        batch.answers.append(answer)
        if len(batch.items) >= self._most:
            self._leave(batch)
        try:
            return await answer
        finally:
            if batch.task is not None and all(one.done() for one in batch.answers):
                batch.task.cancel()  # nobody wants any of it any more

    def _leave(self, batch: _Batch[T, V]) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        if self._open is batch:
            self._open = None
        wanted = [
            pair for pair in zip(batch.items, batch.answers, strict=True) if not pair[1].done()
        ]
        if not wanted:
            return
        batch.items, batch.answers = [item for item, _ in wanted], [one for _, one in wanted]
        batch.task = asyncio.ensure_future(self._answer(batch.items, batch.answers))
        self._under_way.add(batch.task)
        batch.task.add_done_callback(self._under_way.discard)

    async def _answer(self, items: Sequence[T], answers: Sequence[asyncio.Future[V]]) -> None:
        try:
            values = await self._run(items)
            for answer, value in zip(answers, values, strict=True):
                if not answer.done():
                    answer.set_result(value)
        except asyncio.CancelledError:
            for answer in answers:
                answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, a caller waits for it)
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
