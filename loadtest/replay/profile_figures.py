"""ProfileFigures: what one device of a bundle's profile downloads, holds and takes per request."""

from __future__ import annotations

import time

import numpy as np

from device_runtime.cloud.snapshot_cache import MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.cached_snapshot import CachedSnapshot, CacheKey
from device_runtime.state.history import RequestContext, Window
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.state_size import own_bytes
from shared.bundle import Bundle
from shared.item_files import packed_items
from shared.profile import Table
from shared.snapshot import Snapshot, encode
from shared.strict import Strict

REQUESTS = 300
EVENTS = 400  # more than any window
_USER = "profile"
_HOUR = 3600.0


class ProfileFigures(Strict):
    """Measured on this machine; bytes unless the name says otherwise.

    Attributes:
        download: file -> bytes of what a device downloads of the bundle.
        snapshot: one refresh's answer.
        page: what one item's page carries for the device; 0 where it has a table.
        model: arrays and networks that all requests share, in memory.
        state: what the device holds for itself: history, snapshot, candidates, own vectors.
        request_p50_us, request_p95_us: one request with a full window and a stale snapshot.
    """

    profile: str
    window: int
    table: Table
    candidates: int
    download: dict[str, int]
    snapshot: int
    page: int
    model: int
    state: int
    request_p50_us: float
    request_p95_us: float

    @property
    def download_total(self) -> int:
        return sum(self.download.values())


def measure_profile(bundle: Bundle, *, requests: int = REQUESTS, seed: int = 0) -> ProfileFigures:
    """Load the bundle as a device does and let one make ``requests`` requests, about a second.

    Its user consumes items by popularity, one an hour, and its snapshot is never renewed.
    """
    models = DeviceModels.load(bundle)
    snapshot = plausible_snapshot(bundle, _USER, seed)
    writer = _Silent()
    e_str = np.zeros(models.dim, dtype=np.float32)  # as if asked for at some other state
    cache = cache_holding(models, CachedSnapshot(snapshot, e_str))
    device = Device(_USER, models, writer, cache=cache)
    pages = None if models.table is not None else ItemPages(bundle)
    rng = np.random.default_rng(seed)
    weights = bundle.array("item_popularity.npy").astype(np.float64) + 1.0
    drawn = rng.choice(len(weights), EVENTS + requests, p=weights / weights.sum())
    took = []
    for step, item in enumerate(drawn.tolist()):
        moment = _HOUR * step
        if step >= EVENTS:
            began = time.perf_counter_ns()
            device.request(RequestContext(moment, step % 168))
            took.append((time.perf_counter_ns() - began) / 1e3)
        device.observe(item, moment, step % 168, None if pages is None else pages.page(item))
    files = bundle.manifest.device_files
    networks = sum(entry.bytes for name, entry in files.items() if name.endswith(".onnx"))
    shared = (models, models.table, models.starter, writer)
    page = 0 if pages is None or (first := pages.page(0)) is None else first.packed.nbytes
    return ProfileFigures(
        profile=models.profile.name,
        window=models.profile.window,
        table=models.profile.table,
        candidates=len(snapshot.items),
        download={name: entry.bytes for name, entry in files.items()},
        snapshot=len(encode(snapshot)),
        page=page,
        model=models.nbytes + networks,
        state=own_bytes(device, shared),
        request_p50_us=float(np.percentile(took, 50)),
        request_p95_us=float(np.percentile(took, 95)),
    )


def plausible_snapshot(bundle: Bundle, user: str, seed: int = 0) -> Snapshot:
    """A random e_sem and the candidates that the cloud would retrieve with it, at step 5."""
    manifest = bundle.manifest
    e_sem = np.random.default_rng(seed).standard_normal(manifest.dim, dtype=np.float32)
    scores = bundle.semantic_vectors() @ e_sem
    items = np.argsort(-scores, kind="stable")[: manifest.candidates].astype(np.int32)
    packed = packed_items(bundle).take(items) if manifest.vectors_in_snapshot else None
    return Snapshot(
        user=user,
        tau=5,
        created_ms=0,
        bundle_id=bundle.id,
        e_sem=e_sem,
        items=items,
        scores=scores[items],
        vectors=packed,
    )


def cache_holding(models: DeviceModels, cached: CachedSnapshot) -> MemorySnapshotCache:
    """A device's cache with this snapshot in it."""
    cache = MemorySnapshotCache()
    key = CacheKey(
        user=cached.snapshot.user,
        bundle_id=models.bundle_id,
        dim=models.dim,
        n_items=models.n_items,
    )
    cache.put(key, cached)
    return cache


class _Silent:
    """Writes no abstracts: this device never asks for a snapshot."""

    def write(self, past: Window, context: RequestContext) -> str:
        raise NotImplementedError("a measured device does not refresh")
