"""RedisConnections: the connections in use, and new ones when they lead to the wrong server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

from cloud_service.store.conditions import LOST, condition_of, store_unavailable, unavailable

T = TypeVar("T")
# A server may send anything; redis-py tells some of it by errors of Python.
FAILURES = (RedisError, OSError, EOFError, ValueError)


@dataclass(eq=False)
class _Line:
    """One pool of connections.

    Attributes: calls: those under way on it; good: one was answered by the right server.
    """

    client: redis.Redis
    calls: int = 0
    good: bool = False

    async def close(self) -> None:
        with suppress(*FAILURES):  # they are gone then, too
            await self.client.aclose()
            await self.client.connection_pool.aclose()


class RedisConnections:
    """Runs commands over a pool that is replaced as a whole when it leads to the wrong server.

    After a failover, or when the server has gone, every connection of the pool is as wrong as the
    one that showed it. New connections look the address up again (DNS, or the Sentinels).

    A cancelled caller never cancels a command: a connection given back in the middle of a reply
    would hand that reply to somebody else (redis-py issue 2624).

    Args:
        make_pool: of connections; makes none before the first command.
        deadline_s: for one call, its repetition included.
        dropped: told why whenever connections that were good are replaced.
    """

    def __init__(
        self,
        make_pool: Callable[[], ConnectionPool],
        *,
        deadline_s: float,
        dropped: Callable[[str], None],
    ) -> None:
        self._make_pool = make_pool
        self._deadline_s = deadline_s
        self._dropped = dropped
        self._line = self._new_line()
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, command: Callable[[redis.Redis], Awaitable[T]]) -> T:
        """Its answer. It must be one that may be repeated.

        Raises:
            StoreUnavailable: with the condition that Redis is in.
        """
        task = asyncio.ensure_future(self._attempts(command))
        self._running.add(task)
        task.add_done_callback(self._finished)
        done, _ = await asyncio.wait({task}, timeout=self._deadline_s)
        if not done:
            raise store_unavailable("timeout", f"did not answer within {self._deadline_s:g} s")
        try:
            return task.result()
        except FAILURES as error:
            raise unavailable(error) from error

    def drop(self, why: str) -> None:
        """Use none of the present connections for another command."""
        self._drop(self._line, why)

    async def aclose(self) -> None:
        while self._running:  # those that end now may leave a line to close behind
            _, late = await asyncio.wait(self._running, timeout=self._deadline_s)
            if late:
                break
        await self._line.close()

    async def _attempts(self, command: Callable[[redis.Redis], Awaitable[T]]) -> T:
        """Twice at most, the second time over new connections."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._deadline_s
        for last in (False, True):
            line = self._line
            line.calls += 1
            try:
                answer = await command(line.client)
                line.good = True
                return answer
            except FAILURES as error:
                condition = condition_of(error)
                if condition not in LOST:
                    raise
                self._drop(line, condition)
                if last or condition == "timeout" or clock() >= give_up:
                    raise
            finally:
                line.calls -= 1
                if line is not self._line and not line.calls:
                    self._close_later(line)
        raise AssertionError("unreachable")

    def _drop(self, line: _Line, why: str) -> None:
        if line is not self._line:
            return  # by another command that it failed under
        self._line = self._new_line()
        if line.good:  # once, not at every call while Redis is away
            self._dropped(why)
        if not line.calls:
            self._close_later(line)

    def _close_later(self, line: _Line) -> None:
        task = asyncio.ensure_future(line.close())
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _new_line(self) -> _Line:
        return _Line(redis.Redis.from_pool(self._make_pool()))

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even if the caller has gone
