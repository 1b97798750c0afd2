"""An asyncio event loop whose clock jumps to the next timer instead of waiting for it.

Code written for asyncio (sleeps, timeouts, tasks, queues) runs unchanged, takes no time where it
would only wait, and runs the same way every time. What the outside world could disturb is refused:
sockets, child processes and foreign threads. Work handed to an executor runs in place.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

from shared.errors import ScalrecError

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ADVICE = "use an in-process transport and store under the virtual clock, or the wall clock"


class VirtualClockError(ScalrecError):
    """Something under the virtual clock needs real time: a socket, a thread, or a wake-up call."""


class _JumpingSelector(selectors.DefaultSelector):
    """Advances ``now`` by the time it was asked to wait. Knows one file: the loop's own pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        # The loop registers its self-pipe (signals) first; anything after it is real I/O.
        if self.get_map():
            raise VirtualClockError(f"real I/O under the virtual clock: {_ADVICE}")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        woken = super().select(0)
        if woken:
            return woken
        if timeout is None:
            raise VirtualClockError(
                f"every task waits and no timer is set, so nothing can ever happen: {_ADVICE}"
            )
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Event loop in virtual seconds, from 0. Raises VirtualClockError where real time is needed."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self._thread = threading.get_ident()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if threading.get_ident() != self._thread:
            # A thread finishes at no particular virtual time, so records would differ by run.
            raise VirtualClockError(f"a thread reports under the virtual clock: {_ADVICE}")
        return super().call_soon_threadsafe(callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func`` at once, in this thread: it takes no virtual time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the future
            future.set_exception(error)
        return future

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise VirtualClockError(f"a name look-up under the virtual clock: {_ADVICE}")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise VirtualClockError(f"a child process under the virtual clock: {_ADVICE}")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise VirtualClockError(f"a child process under the virtual clock: {_ADVICE}")


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` to its end on a fresh VirtualLoop, as ``asyncio.run`` does on a real one.

    Raises:
        VirtualClockError: real I/O was attempted, or every task waits for ever.
        KeyboardInterrupt: after Ctrl-C, once ``main`` was cancelled and cleaned up.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        try:
            return runner.run(main())
        except BaseExceptionGroup as group:
            refused = group.subgroup(VirtualClockError)
            if refused is None:
                raise
            # A library's task group wrapped it; the user needs the plain words.
            raise _first_leaf(refused) from group


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
