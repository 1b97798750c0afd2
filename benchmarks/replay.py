"""The virtual-clock fleet: requests per core, what is not the networks, recording, memory."""

from __future__ import annotations

import math
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import psutil
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.timing import BenchmarkLine
from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.transport import AsgiTransport
from loadtest.records.recorder import REFRESHES, REQUESTS, Recorder, RefreshRecord, RequestRecord
from loadtest.replay.replay import Connect, ReplayResult, run_replay
from loadtest.timing.clock import ReplayClock
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source, with_keys
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.fixed_texts import read_fixed_texts
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from shared.split import Split, split_log

DEVICES = 10_000
KIB = 1024.0
STAND_INS = 1024  # vectors that pass for those of texts


class _StandIn(HashingEmbedder):
    """Costs nothing, so that the fleet is what is measured; passes for the bundle's embedder, also
    where the cloud compares what it makes of fixed texts."""

    def __init__(self, bundle: Bundle) -> None:
        identity = bundle.manifest.embedder
        super().__init__(identity.dim)
        self.identity = identity
        drawn = np.random.default_rng(0).standard_normal((STAND_INS, identity.dim))
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        self._stand_ins = drawn.astype(np.float32)
        fixed = read_fixed_texts(bundle)
        self._fixed: dict[str, NDArray[np.float32]] = {}
        if fixed is not None:
            self._fixed = dict(zip(fixed.texts, fixed.vectors, strict=True))

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._fixed.get(text, self._of(text)) for text in texts])

    def _of(self, text: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._stand_ins[zlib.crc32(text.encode()) % STAND_INS]
        return found


@dataclass
class Costs:
    """Seconds of processor time: of the replay's window with closing its records, and of ONNX."""

    window_s: float = 0.0
    onnx_s: float = 0.0


def compare_replay(
    settings: Settings, log: InteractionLog, split: Split, bundle: Bundle
) -> list[BenchmarkLine]:
    """One replay of every user, everything in one process and on one core.

    Its cost is processor time, the in-process cloud included, but for an embedder that costs
    nothing; then the very records it made are recorded once more, on their own.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result, costs = replay_alone(settings, log, split, bundle, log.n_users, folder / "run")
        recording_s = _record_again(folder / "run", folder / "again")
    per_request = 1e6 / result.requests
    fleet = f"virtual-clock fleet, {result.users} devices, {result.refreshes} refreshes"
    return [
        BenchmarkLine(
            name=f"{fleet}: requests / what ONNX alone would allow",
            ours=result.requests / costs.window_s,
            theirs=result.requests / costs.onnx_s,
            unit="requests/s/core",
            ratio=costs.onnx_s / costs.window_s,
            meaning="higher, 1 is the limit",
        ),
        BenchmarkLine(
            name="time of a fleet's request that is not ONNX / all of it",
            ours=(costs.window_s - costs.onnx_s) * per_request,
            theirs=costs.window_s * per_request,
            unit="µs",
            ratio=1 - costs.onnx_s / costs.window_s,
            meaning="lower",
        ),
        BenchmarkLine(
            name="recording a fleet's request / all of it",
            ours=recording_s * per_request,
            theirs=costs.window_s * per_request,
            unit="µs",
            ratio=recording_s / costs.window_s,
            meaning="lower",
        ),
    ]


def compare_memory(
    settings: Settings, log: InteractionLog, bundle: Bundle, *, devices: int = DEVICES
) -> list[BenchmarkLine]:
    """One request of each of ``devices`` devices, the log's users again and again."""
    many = repeated(log, devices)
    device = settings.device.model_copy(update={"k": 1})  # all have asked once, none waits long
    replay = settings.replay.model_copy(update={"steps": 1})
    once = settings.model_copy(update={"device": device, "replay": replay})
    process = psutil.Process()
    before = process.memory_info().rss
    with tempfile.TemporaryDirectory() as folder:
        result, _ = replay_alone(once, many, split_log(many), bundle, devices, Path(folder) / "run")
    grown = process.memory_info().rss - before
    return [
        BenchmarkLine(
            name=f"{result.users} devices on the virtual clock, state of one / its share of all "
            "that the process grew by",
            ours=result.state_kib,
            theirs=grown / KIB / result.users,
            unit="KiB",
            # A process that had memory to spare need not grow.
            ratio=result.state_kib * KIB * result.users / grown if grown > 0 else math.nan,
            meaning="1: nothing else grows",
        )
    ]


def repeated(log: InteractionLog, users: int, *, test_steps: int | None = None) -> InteractionLog:
    """A log of ``users`` users: those of ``log`` with enough events to be asked, in turns.

    Args:
        test_steps: that each is to be asked at; None: any.
    """
    if test_steps is None:
        able = np.flatnonzero(split_log(log).test_start < log.counts())
    else:
        split = split_log(log, test_steps=test_steps)
        able = np.flatnonzero(log.counts() - split.test_start >= test_steps)
    if not len(able):
        raise ConfigError(f"no user of log {log.name!r} has {test_steps} events to be asked at")
    sources = able[np.arange(users) % len(able)]
    rows = np.concatenate([np.arange(*log.user_start[u : u + 2]) for u in sources])
    return log.take(
        rows,
        user=np.repeat(np.arange(users, dtype=np.int32), log.counts()[sources]),
        user_ids=tuple(f"copy-{n}" for n in range(users)),
    )


def replay_alone(
    settings: Settings,
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    users: int,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> tuple[ReplayResult, Costs]:
    """Replay on the virtual clock, all in this process; and what it cost."""
    replay = settings.replay.model_copy(update={"clock": "virtual", "users": users})
    cloud = settings.cloud.model_copy(update={"device_requests_per_minute": 0.0})
    fast = with_keys(settings.model_copy(update={"replay": replay, "cloud": cloud}))
    costs = Costs()

    @asynccontextmanager
    async def open_cloud(clock: ReplayClock) -> AsyncIterator[Connect]:
        app = create_app(
            fast,
            bundle=bundle,
            embedder=_StandIn(bundle),
            store=MemorySnapshotStore(),
            now=clock.unix,
        )
        async with app.router.lifespan_context(app):
            yield lambda: AsgiTransport(app)

    def window_begins(_: object) -> None:
        costs.window_s, costs.onnx_s = -time.process_time(), 0.0

    with _timed_networks(costs):
        result = run_replay(
            log,
            split,
            bundle,
            fast,
            open_cloud,
            folder,
            progress=progress or NullProgress(),
            on_start=window_begins,
            tokens=lambda clock: token_source(fast, clock.unix),
        )
    costs.window_s += time.process_time()
    return result, costs


@contextmanager
def _timed_networks(costs: Costs) -> Iterator[None]:
    """While the block runs, the time within ONNX Runtime's own calls is added up."""
    # Devices bind their inputs and outputs once; the cloud runs its projector as it comes.
    own = {name: getattr(ort.InferenceSession, name) for name in ("run", "run_with_iobinding")}

    def timed(run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return run(*args, **kwargs)
            finally:
                costs.onnx_s += time.thread_time() - started

        return call

    for name, run in own.items():
        setattr(ort.InferenceSession, name, timed(run))
    try:
        yield
    finally:
        for name, run in own.items():
            setattr(ort.InferenceSession, name, run)


def _record_again(run: Path, again: Path) -> float:
    """Processor seconds of making the rows of a run once more and writing them as it did."""
    requests, refreshes = (pq.read_table(run / name) for name in (REQUESTS, REFRESHES))
    rows = list(zip(*(column.to_pylist() for column in requests.columns), strict=True))
    asked = list(zip(*(column.to_pylist() for column in refreshes.columns), strict=True))
    started = time.process_time()
    with Recorder(again) as recorder:
        for row in rows:
            recorder.request(RequestRecord(*row))
        for row in asked:
            recorder.refresh(RefreshRecord(*row))
    return time.process_time() - started
