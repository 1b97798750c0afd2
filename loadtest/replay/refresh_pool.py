"""RefreshPool: the fleet's cloud refreshes, in the background and never without bound."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from device_runtime.cloud.link import CloudLink
from device_runtime.device import Device
from device_runtime.state.history import RequestContext
from loadtest.records.outcomes import outcome_name
from loadtest.records.recorder import Recorder, RefreshRecord
from loadtest.timing.clock import ReplayTime


@dataclass(frozen=True, slots=True)
class RefreshJob:
    """One device's wish for a snapshot of its present state."""

    user: int
    device: Device
    link: CloudLink
    context: RequestContext


class RefreshPool:
    """Runs refreshes as tasks and records each one.

    Args:
        limit: refreshes in flight at once; a further one is skipped, not queued: the device asks
            again after its next request, with newer words.
        time: of the replay.
        cloud_up: availability at a moment of the replay, for the records.
        recorder: gets one record per refresh that ended.
        planned_up: whether the cloud is meant to be there at a moment; None: as ``cloud_up`` says.

    Attributes:
        ended: refreshes that succeeded or failed.
        failed: those of them that brought no snapshot.
        skipped: refreshes not started because of the limit.
        cancelled: refreshes still under way at the end, after their grace.
        outcomes: how refreshes ended, by ``outcome_name``; outcomes_up: of those begun while the
            cloud was meant to be there. Both with those of the warm-up.
    """

    def __init__(
        self,
        limit: int,
        time: ReplayTime,
        cloud_up: Callable[[float], bool],
        recorder: Recorder,
        planned_up: Callable[[float], bool] | None = None,
    ) -> None:
        self._limit = limit
        self._time = time
        self._cloud_up = cloud_up
        self._planned_up = planned_up or cloud_up
        self._recorder = recorder
        self._tasks: set[asyncio.Task[None]] = set()
        self._warm_up: list[RefreshRecord] = []
        self._error: BaseException | None = None
        self.ended = self.failed = self.skipped = self.cancelled = 0
        self.outcomes: Counter[str] = Counter()
        self.outcomes_up: Counter[str] = Counter()

    def start(self, job: RefreshJob) -> bool:
        """Begin a refresh and return at once; False if it was skipped.

        Raises whatever an earlier refresh failed with that is not a failure of the cloud.
        """
        if self._error is not None:
            raise self._error
        if len(self._tasks) >= self._limit:
            self.skipped += 1
            return False
        task = asyncio.create_task(self._refresh(job))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    async def warm_up(self, jobs: Iterable[RefreshJob], on_done: Callable[[], None]) -> None:
        """Run all jobs, ``limit`` at a time, before the replay's window begins."""
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                await self._refresh(job)
                on_done()

        workers = [asyncio.create_task(work()) for _ in range(self._limit)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def window_began(self) -> None:
        """Record the warm-up's refreshes, now that the window's start is known."""
        for early in self._warm_up:
            self._recorder.refresh(self._in_window(early))
        self._warm_up.clear()

    async def drain(self, grace_s: float) -> None:
        """Let what is under way end within ``grace_s`` seconds, then cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        await self.cancel()
        if self._error is not None:
            raise self._error

    async def cancel(self) -> None:
        """Stop every refresh now; returns when all have ended."""
        pending = [task for task in self._tasks if not task.done()]
        self.cancelled += len(pending)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._error = task.exception()

    async def _refresh(self, job: RefreshJob) -> None:
        clock, device = self._time.clock, job.device
        begun = self._time.now()
        cloud_up, planned_up = self._cloud_up(begun), self._planned_up(begun)
        started, step = clock.time(), device.step
        result = await device.refresh(job.link, job.context)
        if result is None:
            return
        finished = clock.time()
        held = device.snapshot
        self.ended += 1
        self.failed += result.blob is None
        name = outcome_name(result.outcome, result.reason)
        self.outcomes[name] += 1
        self.outcomes_up[name] += planned_up
        record = RefreshRecord(
            user=job.user,
            step=step,
            started_s=started,
            finished_s=finished,
            outcome=result.outcome,
            attempts=result.attempts,
            request_bytes=result.request_bytes,
            response_bytes=result.response_bytes,
            latency_ms=(finished - started) * 1e3,
            tau=-1 if held is None else held.snapshot.tau,
            version=0 if held is None else held.snapshot.version,
            cloud_up=cloud_up,
            reason=result.reason,
        )
        if self._time.started:
            self._recorder.refresh(self._in_window(record))
        else:
            self._warm_up.append(record)

    def _in_window(self, record: RefreshRecord) -> RefreshRecord:
        return record._replace(
            started_s=self._time.of(record.started_s), finished_s=self._time.of(record.finished_s)
        )
