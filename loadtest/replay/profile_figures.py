"""ProfileFigures: what one device of a bundle's profile downloads, holds and takes per request."""

from __future__ import annotations

from functools import partial

import numpy as np
from pydantic import Field

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.snapshot_cache import MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.cached_snapshot import CachedSnapshot, CacheKey
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.part_times import (
    CALIBRATOR,
    COUNTS,
    ENCODER,
    STUDENT,
    VECTORS,
    PartTimes,
    microseconds,
)
from loadtest.replay.state_size import own_bytes
from shared.bundle import (
    CATALOGUE_FILE,
    SEMANTIC_FILE,
    STARTER_FILE,
    TABLE_FILE,
    Bundle,
    Manifest,
)
from shared.item_files import packed_items
from shared.packed import row_bytes
from shared.profile import Table
from shared.snapshot import Snapshot, encode
from shared.strict import Strict
from shared.text_student import STUDENT_FILE

REQUESTS = 300
EVENTS = 400  # more than any window
_USER = "profile"
_HOUR = 3600.0


class ProfileFigures(Strict):
    """Measured on this machine; bytes unless the name says otherwise.

    Attributes:
        download: file -> bytes of what a device downloads of the bundle.
        parts: the same by what it is for: encoder, calibrator (the estimator with it), own counts
            (no bytes), text student, item vectors, semantic vectors, catalogue.
        snapshot: one refresh's answer.
        page: what one item's page carries for the device; 0 where it has a table.
        model: arrays and networks that all requests share, in memory.
        state: what the device holds for itself: history, snapshot, candidates, own vectors.
        request_p50_us, request_p95_us: one request with a full window and a stale snapshot.
        part_p50_us: part of it -> its time by itself, see ``PartTimes``.
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
    # Records from before these were measured have none.
    parts: dict[str, int] = Field(default_factory=dict)
    part_p50_us: dict[str, float] = Field(default_factory=dict)

    @property
    def download_total(self) -> int:
        return sum(self.download.values())


def measure_profile(bundle: Bundle, *, requests: int = REQUESTS, seed: int = 0) -> ProfileFigures:
    """Load the bundle as a device does and let one make ``requests`` requests, about a second.

    Its user consumes items by popularity, one an hour, and its snapshot is never renewed.
    """
    models = DeviceModels.load(bundle)
    snapshot = plausible_snapshot(bundle, _USER, seed)
    catalogue, form = bundle.catalogue(), bundle.manifest.abstract
    # With words of its own, so that neither finds remembered what the other has just read.
    apart, writer = (
        PartTimes(models, TemplateAbstract(catalogue, form), snapshot),
        TemplateAbstract(catalogue, form),
    )
    e_str = np.zeros(models.dim, dtype=np.float32)  # as if asked for at some other state
    cache = cache_holding(models, CachedSnapshot(snapshot, e_str))
    device = Device(_USER, models, writer, cache=cache, digest=writer.digest())
    pages = None if models.table is not None else ItemPages(bundle)
    rng = np.random.default_rng(seed)
    weights = bundle.array("item_popularity.npy").astype(np.float64) + 1.0
    drawn = rng.choice(len(weights), EVENTS + requests, p=weights / weights.sum())
    took = []
    for step, item in enumerate(drawn.tolist()):
        moment, hour = _HOUR * step, float(step % 168)
        if step >= EVENTS:
            context = RequestContext(moment, hour)
            took.append(microseconds(partial(device.request, context)))
            apart.time(context)
        device.observe(item, moment, hour, None if pages is None else pages.page(item))
        apart.observe(item, moment, hour)
    files = bundle.manifest.device_files
    networks = sum(entry.bytes for name, entry in files.items() if name.endswith(".onnx"))
    shared = (*shared_parts(models, writer), writer)
    page = 0 if pages is None or (first := pages.page(0)) is None else first.packed.nbytes
    return ProfileFigures(
        profile=models.profile.name,
        window=models.profile.window,
        table=models.profile.table,
        candidates=len(snapshot.items),
        download={name: entry.bytes for name, entry in files.items()},
        parts=download_parts(bundle.manifest),
        snapshot=len(encode(snapshot)),
        page=page,
        model=models.nbytes + networks,
        state=own_bytes(device, shared),
        request_p50_us=float(np.percentile(took, 50)),
        request_p95_us=float(np.percentile(took, 95)),
        part_p50_us=apart.p50_us(),
    )


def shared_parts(models: DeviceModels, writer: TemplateAbstract) -> tuple[object, ...]:
    """What a device holds of its models and writer, and all devices of a process share."""
    words = writer.digest().words
    student = None if models.student is None else models.text_student(words)
    return (models, models.table, models.starter, words, student)


def download_parts(manifest: Manifest) -> dict[str, int]:
    """Part -> bytes of what a device downloads, by what it is for; all bytes are in some part."""
    kinds = {
        "encoder.onnx": ENCODER, "estimator.onnx": CALIBRATOR, "calibrator.onnx": CALIBRATOR,
        "item_vectors.npy": VECTORS, "item_bias.npy": VECTORS,
        TABLE_FILE: VECTORS, STARTER_FILE: VECTORS,
        SEMANTIC_FILE: "semantic vectors", STUDENT_FILE: STUDENT,
        CATALOGUE_FILE: "catalogue",
    }  # fmt: skip
    parts: dict[str, int] = {}
    for name, entry in manifest.device_files.items():
        part = kinds.get(name, "other")
        parts[part] = parts.get(part, 0) + entry.bytes
    if manifest.semantic_vectors == "own" and manifest.profile.table != "float32":
        # Both lie in one file: what the second one adds to each row.
        starter = min(manifest.profile.starter_items, manifest.n_items)
        rows = manifest.n_items if manifest.profile.table == "int8" else starter
        added = rows * (row_bytes(manifest.dim, 2) - row_bytes(manifest.dim, 1))
        parts["semantic vectors"] = added
        parts[VECTORS] -= added
    if manifest.own_counts is not None and manifest.own_counts.weight > 0.0:
        parts[COUNTS] = 0  # three numbers of the manifest
    return parts


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
