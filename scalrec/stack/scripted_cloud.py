"""The cloud inside this process, with a scenario's faults on its parts, for the virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from cloud_service.app import create_app
from cloud_service.store.snapshot_store import MemorySnapshotStore
from cloud_service.telemetry.telemetry import Telemetry
from device_runtime.cloud.transport import AsgiTransport, CloudTransport
from loadtest.faults.fault import Target
from loadtest.faults.parts import FaultyEmbedder, FaultyStore, TextEmbedder
from loadtest.faults.script import FaultScript
from loadtest.faults.transport import FaultyTransport
from loadtest.history.log import HistoryLog
from loadtest.history.watch import WatchedStore
from loadtest.replay.replay import Connect, OpenCloud
from loadtest.replay.staging import Staging, Wrap
from loadtest.timing.clock import ReplayClock
from scalrec.settings import Settings
from shared.bundle import Bundle

_STORE, _EMBEDDER, _LINKS = 5, 6, 7  # streams of the seed
_HERE: tuple[Target, ...] = ("device-link", "cloud-link", "cloud")


def scripted_cloud(
    settings: Settings,
    bundle: Bundle,
    embedder: TextEmbedder,
    script: FaultScript,
    staging: Staging,
    history: HistoryLog,
    *,
    log: Path,
) -> OpenCloud:
    """The real app over a store and an embedder that fail as the script says.

    Args:
        embedder: must answer without real I/O.
        staging: knows the replay's time.
        history: gets every write of the store.
        log: file for the service's own log lines.
    """

    @asynccontextmanager
    async def open_cloud(clock: ReplayClock) -> AsyncIterator[Connect]:
        memory = MemorySnapshotStore()
        store = WatchedStore(memory, history)

        def empty() -> None:
            memory.clear()
            store.emptied()

        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as lines:
            app = create_app(
                settings,
                bundle=bundle,
                embedder=FaultyEmbedder(
                    embedder, script, staging.now, np.random.default_rng([settings.seed, _EMBEDDER])
                ),
                store=FaultyStore(
                    store,
                    script,
                    staging.now,
                    np.random.default_rng([settings.seed, _STORE]),
                    empty,
                    settings.cloud.snapshot_ttl_s,
                ),
                telemetry=Telemetry.create(level="warning", stream=lines),
                now=clock.unix,
            )
            async with app.router.lifespan_context(app):
                yield lambda: AsgiTransport(app)

    return open_cloud


def scripted_ways(
    script: FaultScript, *, seed: int, replicas: int, on_sockets: bool = False
) -> Wrap:
    """Lays faults between device and cloud over every way.

    Args:
        replicas: ways lead to them in turn.
        on_sockets: the rest happens to real links and processes; only what a device's own network
            does is left to do here.
    """

    def wrap(transport: CloudTransport, link: int, now: Callable[[], float]) -> CloudTransport:
        return FaultyTransport(
            transport,
            script,
            now,
            targets=("device-link",) if on_sockets else _HERE,
            replica=link % replicas,
            replicas=replicas,
            rng=np.random.default_rng([seed, _LINKS, link]),
            block_names="thread" if on_sockets else "loop",
        )

    return wrap
