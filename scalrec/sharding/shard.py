"""Shard: the process that replays some of a run's users, on this machine or where Ray puts it."""

from __future__ import annotations

import asyncio
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.cloud.transport import HttpTransport
from loadtest.dashboard.feed import Feed
from loadtest.dashboard.messages import Facts
from loadtest.dashboard.push import HttpSink
from loadtest.records.recorder import REFRESHES, REQUESTS, Recorder
from loadtest.replay.replay import ReplayResult, replay
from loadtest.replay.shards.plan import ShardPlan, log_digest
from loadtest.replay.ticker import ReplayTick
from loadtest.timing.clock import WallClock
from loadtest.timing.schedule import build_schedule
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source
from shared.bundle import load_bundle
from shared.errors import BundleError, DataError, ScalrecError
from shared.otel import open_tracing
from shared.progress import NullTask, Task
from training.data.registry import load_log
from training.splitting import split_of

STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ShardOrder:
    """What a shard is to do; all that travels to its machine. Log and bundle must be there.

    Attributes:
        settings: of the run, seed included; keys by value, as no file of ours is there.
        bundle_id, log: what its bundle and log must turn out to be (``log_digest``).
        run_id: first part of the users' names in the cloud.
        facts: of the run, for the live view; None if it has none.
    """

    settings: Settings
    plan: ShardPlan
    url: str
    bundle: Path
    bundle_id: str
    log: str
    run_id: str
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class ShardState:
    """Where a shard stands; ``phase`` in words, ``ready`` when all its devices are."""

    phase: str
    ready: bool
    answered: int
    refreshes: int


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a shard sends back; whatever it did not finish, its records come with it.

    Attributes:
        files: bytes of its record files by name.
        result: None if it did not end well; ``error`` then says why.
        started: Unix seconds at which its window began.
    """

    node: str
    files: dict[str, bytes] = field(default_factory=dict)
    result: ReplayResult | None = None
    started: float | None = None
    error: str = ""


class Shard:
    """Loads, warms up, waits for the others, replays. ``run`` takes as long as that; the other
    methods are called from other threads meanwhile."""

    def __init__(self, order: ShardOrder) -> None:
        self._order = order
        self._phase = "starts"
        self._tick: ReplayTick | None = None
        self._ready = False
        self._started: float | None = None
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[ReplayResult] | None = None
        self._go = asyncio.Event()

    def run(self) -> ShardReport:
        """The whole life of the shard."""
        return asyncio.run(self._run())

    def state(self) -> ShardState:
        tick = self._tick
        return ShardState(
            self._phase,
            self._ready,
            0 if tick is None else tick.answered,
            0 if tick is None else tick.refreshes,
        )

    def go(self) -> None:
        """All shards are ready: the window begins."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._go.set)

    def stop(self) -> None:
        """End early; ``run`` then returns with what was recorded."""
        self._stopped = True
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> ShardReport:
        self._loop = asyncio.get_running_loop()
        result, error = None, ""
        with tempfile.TemporaryDirectory(prefix="scalrec-shard-") as folder:
            self._task = asyncio.create_task(self._replay(Path(folder)))
            if self._stopped:
                self._task.cancel()
            try:
                result = await self._task
            except asyncio.CancelledError:
                error = STOPPED
            except ScalrecError as refused:
                error = str(refused)
            except Exception as failure:  # noqa: BLE001 - told by the fleet, with the records kept
                error = f"{type(failure).__name__}: {failure}"
            paths = [Path(folder) / name for name in (REQUESTS, REFRESHES)]
            files = {path.name: path.read_bytes() for path in paths if path.exists()}
        return ShardReport(
            node=platform.node(), files=files, result=result, started=self._started, error=error
        )

    async def _replay(self, folder: Path) -> ReplayResult:
        order, settings = self._order, self._order.settings
        bundle = load_bundle(order.bundle)
        if bundle.id != order.bundle_id:
            raise BundleError(
                f"bundle {order.bundle} on {platform.node()} is {bundle.id}, the run's is "
                f"{order.bundle_id}; copy the same one to every machine"
            )
        log = load_log(settings.log, cache=settings.cache, progress=self)
        if log_digest(log) != order.log:
            raise DataError(f"the log on {platform.node()} is not the run's", settings.log.path)
        split = split_of(log, settings.training)
        schedule = build_schedule(log, split, settings.replay, seed=settings.seed)
        feed = self._feed()
        tracing = open_tracing(settings.telemetry.traces, "scalrec-device")
        ended = False
        try:
            with Recorder(folder, feed) as recorder:
                result = await replay(
                    log,
                    split,
                    bundle,
                    settings.model_copy(update={"seed": order.plan.seed}),
                    lambda: HttpTransport(order.url),
                    clock=WallClock(),
                    recorder=recorder,
                    progress=self,
                    on_tick=lambda tick: self._ticked(tick, feed),
                    on_start=None if feed is None else feed.start,
                    run_id=order.run_id,
                    tokens=token_source(settings, time.time),
                    tracing=tracing,
                    schedule=schedule.of_users(order.plan.users),
                    before_window=self._wait_for_the_others,
                )
            ended = True
            return result
        finally:
            if feed is not None:
                feed.end("finished" if ended else "stopped")
            if tracing is not None:
                tracing.close()

    async def _wait_for_the_others(self) -> None:
        self._phase, self._ready = "is ready", True
        await self._go.wait()
        self._phase, self._started = "replays", time.time()

    def _feed(self) -> Feed | None:
        order, view = self._order, self._order.settings.dashboard
        if order.facts is None or view.push_url is None or view.token is None:
            return None
        sink = HttpSink(view.push_url, view.token.get_secret_value())
        return Feed(order.facts, f"shard-{order.plan.number}", sink)

    def _ticked(self, tick: ReplayTick, feed: Feed | None) -> None:
        self._tick = tick
        if feed is not None:
            feed.tick(tick)

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        """The shard is its own Progress: what it is at is told when asked."""
        self._phase = label
        yield NullTask()


class ShardActor:
    """A Shard as Ray calls it. Ray takes a class with coroutines for one that lives on its own
    event loop, where loading a log would keep the shard from being asked; so this one has none."""

    def __init__(self, order: ShardOrder) -> None:
        self._shard = Shard(order)

    def run(self) -> ShardReport:
        return self._shard.run()

    def state(self) -> ShardState:
        return self._shard.state()

    def go(self) -> None:
        self._shard.go()

    def stop(self) -> None:
        self._shard.stop()
