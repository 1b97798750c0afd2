"""Replay: an interaction log as traffic of a fleet whose cloud comes and goes."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time as wall
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from device_runtime.cloud.tokens import TokenSource
from device_runtime.cloud.transport import CloudTransport
from device_runtime.models import DeviceModels
from loadtest.evaluation.counters import Counters, KeptRanks
from loadtest.records.recorder import Observer, Recorder
from loadtest.replay.controls import Controls, ReplayControls
from loadtest.replay.fleet import Fleet
from loadtest.replay.gated_transport import GatedTransport, ModelledLatency
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.staging import Staging
from loadtest.replay.ticker import ReplayTick, Ticker
from loadtest.settings import FleetSettings
from loadtest.timing.availability import Availability, availability_of
from loadtest.timing.clock import ReplayClock, ReplayTime, UnixTime, VirtualClock, WallClock
from loadtest.timing.schedule import Schedule, build_schedule
from loadtest.timing.seen_availability import SeenAvailability
from loadtest.timing.switched_availability import SwitchedAvailability
from loadtest.timing.virtual_loop import run_virtual
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError
from shared.interactions import InteractionLog
from shared.metrics import HALF_LIFE
from shared.progress import Progress
from shared.split import Split
from shared.tracing import Tracing

Connect = Callable[[], CloudTransport]
OpenCloud = Callable[[ReplayClock], AbstractAsyncContextManager[Connect]]

VIRTUAL_RUN = "virtual"
_LATENCIES = 2  # stream of the seed for modelled latency


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay amounted to; everything finer is in its records.

    Attributes:
        users, requests: devices, and requests they answered.
        from_snapshot: answers that used a snapshot; the others came from local history alone.
        refreshes, failed_refreshes: refreshes that ended, and those without a snapshot.
        skipped_refreshes: not started because too many were in flight.
        cancelled_refreshes: still in flight when the grace at the end was over.
        window_s: length of the replay on its own clock.
        speed_up: log seconds per replayed second; None where user timelines were stretched.
        outages: [start, end) in seconds of the replay, for shading.
        state_kib: mean memory of one device beside what all share.
        elapsed_s: real seconds of the window, without loading and warm-up.
        outcomes, outcomes_up: how refreshes ended, of all and of those begun while the cloud was
            meant to be there (see RefreshPool).
    """

    users: int
    requests: int
    from_snapshot: int
    refreshes: int
    failed_refreshes: int
    skipped_refreshes: int
    cancelled_refreshes: int
    window_s: float
    speed_up: float | None
    outages: tuple[tuple[float, float], ...]
    state_kib: float
    elapsed_s: float
    outcomes: Mapping[str, int] = field(default_factory=dict)
    outcomes_up: Mapping[str, int] = field(default_factory=dict)


async def replay(
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    settings: FleetSettings,
    connect: Connect,
    *,
    clock: ReplayClock,
    recorder: Recorder,
    progress: Progress,
    on_tick: Callable[[ReplayTick], None] | None = None,
    on_start: Callable[[Controls], None] | None = None,
    run_id: str | None = None,
    tokens: TokenSource | None = None,
    tracing: Tracing | None = None,
    staging: Staging | None = None,
    schedule: Schedule | None = None,
    before_window: Callable[[], Awaitable[None]] | None = None,
    cloud_there: Callable[[], bool] | None = None,
) -> ReplayResult:
    """Replay the last test events of some users of ``log`` against the cloud.

    Cancelling it stops refreshes and closes connections; the recorder keeps what it has.

    Args:
        log, split: the interactions, and which of them may be asked for.
        bundle: made from this log.
        settings: seed, device, replay and profile.
        connect: opens one way to the cloud; called once per ``replay.devices_per_link`` devices,
            each then with outages (and, on a virtual clock, latency) laid over it.
        clock: wall or virtual; must be that of the running loop.
        recorder: gets one record per request and refresh; the caller closes it.
        progress: where stages are shown.
        on_tick: called twice a second of the clock.
        on_start: called when the window begins, with what may be changed while it lasts; only to
            be used on the replay's own event loop, as from ``on_tick``.
        run_id: names this run's users in the cloud; None draws one.
        tokens: of the devices' users; None where the cloud asks for none.
        tracing: gets a span per refresh.
        staging: a scenario's faults and traffic, instead of ``replay.availability``.
        schedule: the requests to make; None draws them as ``replay`` says. Part of one makes this
            one shard of a larger fleet.
        before_window: awaited once all devices are ready; shards wait here for one another.
        cloud_there: whether the cloud is seen to be there now, whatever is planned; None: nobody
            looks.

    Raises:
        BundleError: the bundle is of another log or device profile.
        ConfigError: the replay settings cannot be met.
    """
    if schedule is None:
        schedule = build_schedule(log, split, settings.replay, seed=settings.seed)
    planned = availability_of(settings.replay.availability)
    if staging is not None:
        schedule, planned = staging.reschedule(schedule), staging.availability
    availability = SwitchedAvailability(planned)
    seen = SeenAvailability(availability, cloud_there)
    meant = availability.is_up if staging is None else staging.meant_up(availability)
    models = DeviceModels.load(bundle, expected=settings.profile)
    if bundle.catalogue().ids != log.catalogue.ids:
        raise BundleError(
            f"bundle {bundle.path} was made from log {bundle.manifest.log!r} with other items than "
            f"log {log.name!r} has; train and export one from this log"
        )
    time = ReplayTime(clock)
    if staging is not None:
        staging.attach(time)
    fleet = Fleet(
        log,
        schedule,
        models,
        settings,
        _gated(connect, availability, settings, time, staging),
        time=time,
        cloud_up=seen.is_up,
        planned_up=meant,
        recorder=recorder,
        run_id=run_id or secrets.token_hex(4),
        pages=None if models.table is not None else ItemPages(bundle),
        tokens=tokens,
        tracing=tracing,
        date_clock=None if staging is None else staging.device_clock(UnixTime(clock)),
    )
    try:
        with progress.task("Devices load their histories", len(fleet)) as task:
            fleet.load_histories(task)
        counters = _counter_ranks(log, schedule, bundle, settings)
        if settings.replay.warm_start:
            with progress.task("Devices ask for a first snapshot", len(fleet)) as task:
                await fleet.warm_up(task)
        if before_window is not None:
            await before_window()
        started = wall.monotonic()
        time.start()
        if on_start is not None:
            on_start(ReplayControls(fleet, availability, time, settings.device, recorder.run_dir))
        with progress.task("Replay", len(schedule)) as task:
            async with (
                nullcontext() if staging is None else staging.during(time),
                Ticker(fleet, schedule, seen, time, recorder, task, on_tick),
            ):
                await fleet.run(counters)
        return _result(fleet, schedule, availability, wall.monotonic() - started)
    finally:
        await fleet.aclose()


def run_replay(
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    settings: FleetSettings,
    open_cloud: OpenCloud,
    run_dir: Path,
    *,
    progress: Progress,
    on_tick: Callable[[ReplayTick], None] | None = None,
    on_start: Callable[[Controls], None] | None = None,
    tokens: Callable[[ReplayClock], TokenSource | None] | None = None,
    staging: Staging | None = None,
    observer: Observer | None = None,
) -> ReplayResult:
    """Replay on the clock that ``replay.clock`` names, on an event loop of its own.

    Args:
        open_cloud: given the clock, makes the cloud reachable for the length of a context, whose
            value is ``connect`` of ``replay``. Under the virtual clock this must be an in-process
            app that dates snapshots by ``clock.unix``.
        run_dir: gets requests.parquet and refreshes.parquet, also when the replay is cut short.
        tokens: given the clock, the devices' tokens; None where the cloud asks for none.
        staging: as ``replay`` takes it.
        observer: shown every record.

    Raises:
        VirtualClockError: real I/O under the virtual clock.
        ConfigError: the settings cannot be met.
        KeyboardInterrupt: after Ctrl-C, once everything is stopped and the records are written.
    """
    virtual = settings.replay.clock == "virtual"
    if virtual and settings.device.cache_dir is not None:
        # Its users have the same names in every run: they would know their own future.
        raise ConfigError(
            "device.cache_dir keeps snapshots from run to run, and under the virtual clock every "
            "run starts from nothing; unset it, or use the wall clock"
        )

    async def main() -> ReplayResult:
        clock: ReplayClock = VirtualClock() if virtual else WallClock()
        async with open_cloud(clock) as connect:
            return await replay(
                log,
                split,
                bundle,
                settings,
                connect,
                clock=clock,
                recorder=recorder,
                progress=progress,
                on_tick=on_tick,
                on_start=on_start,
                run_id=VIRTUAL_RUN if virtual else None,
                tokens=None if tokens is None else tokens(clock),
                staging=staging,
            )

    with Recorder(run_dir, observer) as recorder:
        return run_virtual(main) if virtual else asyncio.run(main())


def _gated(
    connect: Connect,
    availability: SwitchedAvailability,
    settings: FleetSettings,
    time: ReplayTime,
    staging: Staging | None,
) -> Connect:
    """``connect`` with outages and, under the virtual clock, modelled latency on every way.

    A scenario does its outages itself; then the gate follows what is switched by hand alone.
    """
    gate = availability if staging is None else availability.by_hand
    links = itertools.count()

    def gated() -> CloudTransport:
        latency, link = None, next(links)
        if settings.replay.clock == "virtual":
            rng = np.random.default_rng([settings.seed, _LATENCIES, link])
            latency = ModelledLatency(settings.replay.cloud_latency_s, rng)
        failure = settings.replay.availability.failure
        way = connect() if staging is None else staging.wrap(connect(), link)
        way = GatedTransport(way, gate, time.now, latency=latency, failure=failure)
        return way if staging is None else staging.watch(way, link)

    return gated


def _counter_ranks(
    log: InteractionLog, schedule: Schedule, bundle: Bundle, settings: FleetSettings
) -> KeptRanks:
    """[n] ranks by counting, made before the clock runs so that they delay no request."""
    counters = Counters(bundle.array("item_popularity.npy"), HALF_LIFE)
    exclude = bundle.manifest.repeat_policy == "exclude"
    starts = log.user_start[schedule.user]
    ranks = (
        counters.ranks(log.item[start:row], int(log.item[row]), exclude_seen=exclude)
        for start, row in zip(starts, schedule.row, strict=True)
    )
    return KeptRanks(ranks, len(schedule))


def _result(
    fleet: Fleet, schedule: Schedule, availability: Availability, elapsed_s: float
) -> ReplayResult:
    refreshes = fleet.refreshes
    return ReplayResult(
        users=len(fleet),
        requests=sum(fleet.answered.values()),
        from_snapshot=fleet.answered["snapshot"],
        refreshes=refreshes.ended,
        failed_refreshes=refreshes.failed,
        skipped_refreshes=refreshes.skipped,
        cancelled_refreshes=refreshes.cancelled,
        window_s=schedule.window_s,
        speed_up=schedule.speed_up,
        outages=tuple(availability.intervals(schedule.window_s)),
        state_kib=fleet.state_kib(),
        elapsed_s=elapsed_s,
        outcomes=dict(refreshes.outcomes),
        outcomes_up=dict(refreshes.outcomes_up),
    )
