"""Replays as tests run them: the tiny bundle, its log, a real cloud app in the same process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import polars as pl
from asgi_lifespan import LifespanManager

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.transport import AsgiTransport
from loadtest.records.recorder import REFRESHES, REQUESTS
from loadtest.replay.replay import Connect, OpenCloud, ReplayResult, run_replay
from loadtest.timing.clock import ReplayClock
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.staleness import make_log


def replay_settings(
    bundle: Bundle, *, device: dict[str, Any] | None = None, **replay: Any
) -> Settings:
    """Settings for the tiny bundle under the virtual clock; ten steps of every user."""
    return cloud_settings().model_copy(
        update={
            "profile": bundle.manifest.profile,
            "device": Settings.model_validate({"device": device or {}}).device,
            "replay": Settings.model_validate({"replay": {"clock": "virtual", **replay}}).replay,
        }
    )


def in_process(bundle: Bundle, settings: Settings) -> OpenCloud:
    """The real app over hashing embedder and memory store, reached without sockets."""

    @asynccontextmanager
    async def open_cloud(clock: ReplayClock) -> AsyncIterator[Connect]:
        app = create_app(
            settings,
            bundle=bundle,
            embedder=HashingEmbedder(bundle.manifest.embedder.dim),
            store=MemorySnapshotStore(),
            telemetry=quiet()[0],
            now=clock.unix,
        )
        async with LifespanManager(app):
            yield lambda: AsgiTransport(app)

    return open_cloud


def replay_tiny(
    run_dir: Path,
    bundle: Bundle,
    settings: Settings,
    *,
    log: InteractionLog | None = None,
    test_steps: int = 10,
    open_cloud: OpenCloud | None = None,
    **options: Any,
) -> ReplayResult:
    """``run_replay`` of a small log, the last ``test_steps`` events of each user."""
    log = log or make_log(users=12, events=30)
    return run_replay(
        log,
        split_log(log, test_steps=test_steps),
        bundle,
        settings,
        open_cloud or in_process(bundle, settings),
        run_dir,
        progress=NullProgress(),
        **options,
    )


def records(run_dir: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Requests and refreshes of a run."""
    return pl.read_parquet(run_dir / REQUESTS), pl.read_parquet(run_dir / REFRESHES)


if __name__ == "__main__":
    # One whole run in a process of its own: python -m tests.support.replays FOLDER
    folder = Path(sys.argv[1])
    tiny = make_bundle(folder / "bundle")
    replay_tiny(folder / "run", tiny, replay_settings(tiny))
