"""Records per second of the virtual-clock replay, and the share of it that is the networks."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.memory_store import MemorySnapshotStore
from device_runtime.models import DeviceModels
from device_runtime.transport import AsgiTransport
from loadtest.clock import Clock
from loadtest.replay import Connect, run_replay
from scalrec.bench.device import OnnxOnly
from scalrec.bench.timing import Comparison, interleaved
from scalrec.cloud_keys import token_source, with_keys
from shared.bundle import Bundle, EmbedderIdentity
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.settings import Settings
from shared.split import Split


class _StandIn(HashingEmbedder):
    """Costs nothing, so that the fleet is what is measured; passes for the bundle's embedder."""

    def __init__(self, identity: EmbedderIdentity) -> None:
        super().__init__(identity.dim)
        self.identity = identity


def compare_replay(
    settings: Settings, log: InteractionLog, split: Split, bundle: Bundle
) -> list[Comparison]:
    """One replay of every user under the virtual clock, everything in one process."""
    replay = settings.replay.model_copy(update={"clock": "virtual", "users": log.n_users})
    fast = with_keys(settings.model_copy(update={"replay": replay}))

    @asynccontextmanager
    async def open_cloud(clock: Clock) -> AsyncIterator[Connect]:
        app = create_app(
            fast,
            bundle=bundle,
            embedder=_StandIn(bundle.manifest.embedder),
            store=MemorySnapshotStore(),
            now=clock.unix,
        )
        async with app.router.lifespan_context(app):
            yield lambda: AsgiTransport(app)

    with tempfile.TemporaryDirectory() as folder:
        result = run_replay(
            log,
            split,
            bundle,
            fast,
            open_cloud,
            Path(folder),
            progress=NullProgress(),
            tokens=lambda clock: token_source(fast, clock.unix),
        )
    models = DeviceModels.load(bundle)
    limit = OnnxOnly(models, models.profile.window)
    per_call, _, _ = interleaved(limit, limit, rounds=10)
    rate, best = result.requests / result.elapsed_s, 1e6 / per_call
    return [
        Comparison(
            f"virtual-clock replay, {result.users} devices, {result.refreshes} refreshes / "
            "ONNX calls alone",
            rate,
            best,
            "records/s",
            rate / best,
            "higher, 1 is the limit",
        )
    ]
