"""Ticker: how a replay reports itself while it runs, on the replay's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from loadtest.records.recorder import Recorder
from loadtest.replay.fleet import Fleet
from loadtest.timing.availability import Availability
from loadtest.timing.clock import ReplayTime
from loadtest.timing.schedule import Schedule
from shared.progress import Task

TICK_S = 0.5
FLUSH_TICKS = 10


@dataclass(frozen=True, slots=True)
class ReplayTick:
    """Where a replay stands.

    Attributes:
        replay_s, window_s: seconds into the replay, and its length.
        devices: in the fleet.
        due, answered: requests planned in all, and answered by now.
        from_snapshot: answers that used a snapshot.
        refreshes, failed_refreshes: ended by now, and those that brought no snapshot.
        breakers: links by the state of their breaker.
        skipped_refreshes: not started because too many were in flight.
        cloud_up: whether the cloud can be reached.
    """

    replay_s: float
    window_s: float
    devices: int
    due: int
    answered: int
    from_snapshot: int
    refreshes: int
    failed_refreshes: int
    breakers: Mapping[str, int]
    skipped_refreshes: int
    cloud_up: bool


class Ticker:
    """Every TICK_S: move the progress bar, call ``on_tick``; now and then, flush the recorder.

    A context manager; an error of ``on_tick`` is raised when it is left. What is no Exception (a
    request to stop, raised by the progress) ends the block at once.
    """

    def __init__(
        self,
        fleet: Fleet,
        schedule: Schedule,
        availability: Availability,
        time: ReplayTime,
        recorder: Recorder,
        task: Task,
        on_tick: Callable[[ReplayTick], None] | None,
    ) -> None:
        self._fleet = fleet
        self._schedule = schedule
        self._availability = availability
        self._time = time
        self._recorder = recorder
        self._progress = task
        self._on_tick = on_tick
        self._shown = 0
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Ticker:
        owner = asyncio.current_task()

        def ended(ticking: asyncio.Task[None]) -> None:
            stop = None if ticking.cancelled() else ticking.exception()
            if owner is not None and stop is not None and not isinstance(stop, Exception):
                owner.cancel()

        self._ticking = asyncio.create_task(self._tick())
        self._ticking.add_done_callback(ended)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            (outcome,) = await asyncio.gather(self._ticking, return_exceptions=True)
            if isinstance(outcome, Exception) and error is None:
                raise outcome
            if isinstance(outcome, BaseException) and not isinstance(
                outcome, Exception | asyncio.CancelledError
            ):
                raise outcome
        self._report()

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            self._report()
            ticks += 1
            if ticks % FLUSH_TICKS == 0:
                self._recorder.flush()

    def _report(self) -> None:
        tick = self._now()
        state = "" if tick.cloud_up else "cloud away"
        self._progress.advance(tick.answered - self._shown, state)
        self._shown = tick.answered
        if self._on_tick is not None:
            self._on_tick(tick)

    def _now(self) -> ReplayTick:
        now, answered = self._time.now(), self._fleet.answered
        refreshes = self._fleet.refreshes
        return ReplayTick(
            replay_s=now,
            window_s=self._schedule.window_s,
            devices=len(self._fleet),
            due=len(self._schedule),
            answered=sum(answered.values()),
            from_snapshot=answered["snapshot"],
            refreshes=refreshes.ended,
            failed_refreshes=refreshes.failed,
            breakers=self._fleet.breakers,
            skipped_refreshes=refreshes.skipped,
            cloud_up=self._availability.is_up(now),
        )
