"""Staging: what a scenario lays over a replay. The replay itself knows of no scenario."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from device_runtime.cloud.clock import Clock
from device_runtime.cloud.transport import CloudTransport
from loadtest.history.log import HistoryLog
from loadtest.history.watch import WatchedTransport
from loadtest.timing.availability import AlwaysUp, Availability
from loadtest.timing.clock import ReplayTime
from loadtest.timing.schedule import Schedule

Wrap = Callable[[CloudTransport, int, Callable[[], float]], CloudTransport]
SetClock = Callable[[Clock, Callable[[], float]], Clock]
During = Callable[[ReplayTime], AbstractAsyncContextManager[object]]


class Staging:
    """Faults, traffic and a history for one replay.

    Args:
        availability: when the cloud can be reached, for records; the faults themselves happen in
            ``wrap`` and ``during``.
        reschedule: changes when requests are due, not which.
        wrap: lays faults over the n-th way to the cloud; is given the replay's seconds.
        during: entered when the window begins and left when it ends.
        history: gets every request that leaves a device.
        untroubled: whether nothing is planned to be wrong at a moment, nor was just before; None:
            whenever the cloud can be reached.
        set_clock: puts a clock that may be wrong before the devices' time of day; is given the
            replay's seconds.
    """

    def __init__(
        self,
        *,
        availability: Availability | None = None,
        reschedule: Callable[[Schedule], Schedule] | None = None,
        wrap: Wrap | None = None,
        during: During | None = None,
        history: HistoryLog | None = None,
        untroubled: Callable[[float], bool] | None = None,
        set_clock: SetClock | None = None,
    ) -> None:
        self.availability = availability or AlwaysUp()
        self.reschedule = reschedule or (lambda schedule: schedule)
        self.history = history
        self._untroubled = untroubled
        self._wrap = wrap
        self._set_clock = set_clock
        self._during = during
        self._time: ReplayTime | None = None

    def attach(self, time: ReplayTime) -> None:
        """The replay's time, once there is one."""
        self._time = time
        if self.history is not None:
            self.history.attach(time)

    def now(self) -> float:
        """Seconds of the replay; 0 until its window begins."""
        return 0.0 if self._time is None else self._time.now()

    def meant_up(self, availability: Availability) -> Callable[[float], bool]:
        """When refreshes are meant to succeed; ``availability``: of the replay, by hand too."""
        untroubled = self._untroubled
        if untroubled is None:
            return availability.is_up
        return lambda t: availability.is_up(t) and untroubled(t)

    def wrap(self, transport: CloudTransport, link: int) -> CloudTransport:
        """``transport`` with the scenario's faults on it."""
        return transport if self._wrap is None else self._wrap(transport, link, self.now)

    def watch(self, transport: CloudTransport, link: int) -> CloudTransport:
        """``transport``, everything that crosses it taken down."""
        if self.history is None:
            return transport
        return WatchedTransport(transport, self.history, link)

    def device_clock(self, right: Clock) -> Clock:
        """What the devices take for the time of day."""
        return right if self._set_clock is None else self._set_clock(right, self.now)

    def during(self, time: ReplayTime) -> AbstractAsyncContextManager[object]:
        return nullcontext() if self._during is None else self._during(time)
