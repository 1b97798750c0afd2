"""Devices as tests use them: snapshots made up in one line, profiles changed, a clock by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.transport import TransportResponse
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from shared.bundle import ARRAY_FILES, Bundle, write_bundle
from shared.item_files import device_tables, packed_items
from shared.profile import DeviceProfile
from shared.schemas import STALE_HEADER, SnapshotRequest
from shared.snapshot import Snapshot, encode
from tests.support.transports import SentRequest

CONTEXT = RequestContext(1_000_000.0, 33.0)


class ManualClock:
    """Time that passes when the test says so."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


def with_profile(bundle: Bundle, path: Path, **limits: Any) -> Bundle:
    """The same models in a bundle made for another device profile."""
    manifest = bundle.manifest
    profile = DeviceProfile(**manifest.profile.model_dump() | limits)
    files = {name: bundle.file(name).read_bytes() for name in manifest.files}
    own = bundle.semantic_vectors() if manifest.semantic_vectors == "own" else None
    files |= device_tables(profile, *(bundle.array(name) for name in ARRAY_FILES), own)
    return write_bundle(path, manifest.model_copy(update={"profile": profile}), files)


def new_device(bundle: Bundle, user: str = "ann", **options: Any) -> Device:
    writer = TemplateAbstract(bundle.catalogue())
    given = {"digest": writer.digest()} | options
    return Device(user, DeviceModels.load(bundle), writer, **given)


def observe(
    device: Device, items: list[int], *, start_s: float = 0.0, pages: ItemPages | None = None
) -> None:
    """Events one hour apart."""
    for place, item in enumerate(items):
        page = None if pages is None else pages.page(item)
        device.observe(item, start_s + 3600.0 * place, float(place % 168), page)


def snapshot_of(
    bundle: Bundle, *, user: str = "ann", tau: int = 3, created_ms: int = 0, seed: int = 0
) -> Snapshot:
    """A plausible snapshot: a random e_sem and the items that it likes best."""
    e_sem = np.random.default_rng(seed).standard_normal(bundle.manifest.dim).astype(np.float32)
    scores = bundle.semantic_vectors() @ e_sem
    items = np.argsort(-scores, kind="stable")[: bundle.manifest.candidates].astype(np.int32)
    packed = packed_items(bundle).take(items) if bundle.manifest.vectors_in_snapshot else None
    return Snapshot(
        user=user,
        tau=tau,
        created_ms=created_ms,
        bundle_id=bundle.id,
        e_sem=e_sem,
        items=items,
        scores=scores[items],
        vectors=packed,
    )


class FakeCloud:
    """Answers a ScriptedTransport with a snapshot of the step it was asked for.

    It stands in for the cloud where a test needs control of every answer; the real one is used in
    tests/integration.
    """

    def __init__(self, bundle: Bundle, user: str = "ann") -> None:
        self.bundle = bundle
        self.user = user
        self.asked: list[SnapshotRequest] = []

    def __call__(self, sent: SentRequest) -> TransportResponse:
        request = SnapshotRequest.model_validate_json(sent.content)
        self.asked.append(request)
        snapshot = snapshot_of(
            self.bundle,
            user=self.user,
            tau=request.step,
            created_ms=len(self.asked),
            seed=len(self.asked),
        )
        return TransportResponse(200, {STALE_HEADER.lower(): "false"}, encode(snapshot))
