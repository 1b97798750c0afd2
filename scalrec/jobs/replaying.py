"""The replay of a run: against processes and sockets, or in one process under the virtual clock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from cloud_service.app import create_app
from cloud_service.embedding.base import Embedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.transport import AsgiTransport, CloudTransport, HttpTransport
from loadtest.dashboard.feed import Feed
from loadtest.records.recorder import Recorder
from loadtest.replay.replay import Connect, ReplayResult, replay, run_replay
from loadtest.timing.clock import ReplayClock, WallClock
from loadtest.timing.schedule import build_schedule
from scalrec.jobs.offline_cloud import PrecomputedEmbedder, embed_abstracts, fixed_texts_of
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source, with_keys
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.otel import open_tracing
from shared.progress import Progress
from shared.split import Split
from training.background import in_thread


async def replay_over_http(
    settings: Settings,
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    url: str,
    run_dir: Path,
    *,
    progress: Progress,
    feed: Feed | None = None,
    cloud_there: Callable[[], bool] | None = None,
) -> ReplayResult:
    """Replay on the wall clock against the cloud at ``url``; records go into ``run_dir``.

    Args:
        feed: shows it on the live view.
        cloud_there: as ``replay`` takes it.
    """

    def connect() -> CloudTransport:
        return HttpTransport(url)

    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(run_dir, feed))
        if (tracing := open_tracing(settings.telemetry.traces, "scalrec-device")) is not None:
            stack.callback(tracing.close)
        return await replay(
            log,
            split,
            bundle,
            settings,
            connect,
            clock=WallClock(),
            recorder=recorder,
            progress=progress,
            on_tick=None if feed is None else feed.tick,
            on_start=None if feed is None else feed.start,
            tokens=token_source(settings, time.time),
            tracing=tracing,
            cloud_there=cloud_there,
        )


async def replay_virtually(
    settings: Settings,
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    embedder: Embedder,
    run_dir: Path,
    *,
    progress: Progress,
    feed: Feed | None = None,
) -> ReplayResult:
    """Replay under the virtual clock: same seed, same bytes.

    The cloud runs inside the process, without sockets. Every abstract the fleet can send is
    embedded beforehand by the real embedder, because nothing real can be awaited there.
    """
    settings = with_keys(settings)
    precomputed = await embed_beforehand(settings, log, split, bundle, embedder, progress=progress)

    @asynccontextmanager
    async def open_cloud(clock: ReplayClock) -> AsyncIterator[Connect]:
        app = create_app(
            settings,
            bundle=bundle,
            embedder=precomputed,
            store=MemorySnapshotStore(),
            now=clock.unix,
        )
        async with app.router.lifespan_context(app):
            yield lambda: AsgiTransport(app)

    return await in_thread(
        lambda stoppable: run_replay(
            log,
            split,
            bundle,
            settings,
            open_cloud,
            run_dir,
            progress=stoppable,
            tokens=lambda clock: token_source(settings, clock.unix),
            observer=feed,
            on_tick=None if feed is None else feed.tick,
        ),
        progress,
    )


async def embed_beforehand(
    settings: Settings,
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    embedder: Embedder,
    *,
    progress: Progress,
) -> PrecomputedEmbedder:
    """An embedder that knows every abstract the replay of these settings can send."""
    schedule = build_schedule(log, split, settings.replay, seed=settings.seed)
    points = list(zip(schedule.user.tolist(), schedule.step.tolist(), strict=True))
    # A warm-up asks up to k events before the first recorded request.
    for user, first in schedule.first_steps().items():
        points += [(user, step) for step in range(max(0, first - settings.device.k), first)]
    abstracts = await embed_abstracts(
        settings,
        log,
        embedder,
        points,
        form=bundle.manifest.abstract,
        label="embedding the replay's abstracts",
        progress=progress,
    )
    fixed = await fixed_texts_of(settings, bundle, embedder, progress)
    return PrecomputedEmbedder(embedder.identity, abstracts, fixed)
