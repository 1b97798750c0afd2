from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from cloud_service.admin import create_admin_app
from cloud_service.app import create_app
from cloud_service.store.snapshot_store import MemorySnapshotStore
from cloud_service.telemetry.telemetry import Telemetry
from shared.bundle import Bundle
from shared.errors import StoreUnavailable
from tests.support.bundles import make_bundle
from tests.support.cloud import client_of, cloud_settings, quiet
from tests.unit.cloud_service.test_user_model import Switchable


class SwitchableStore(MemorySnapshotStore):
    """The memory store, until told to be down."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        self._maybe_fail()
        return await super().get(user, bundle_id)

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        self._maybe_fail()
        return await super().put_if_newer(user, bundle_id, blob)

    async def ping(self) -> None:
        self._maybe_fail()

    def _maybe_fail(self) -> None:
        if self.down:
            raise StoreUnavailable("Redis does not answer")


@dataclass
class Cloud:
    """An app in process, with its parts in reach."""

    app: FastAPI
    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    bundle: Bundle
    embedder: Switchable
    store: SwitchableStore
    telemetry: Telemetry
    log: StringIO
    clock: list[float]

    async def post(self, user: str = "ada", *, step: int = 3, **fields: object) -> httpx.Response:
        body = {"abstract": "Likes drama and film noir.", "step": step, **fields}
        return await self.client.post(f"/v1/users/{user}/snapshot", json=body)

    async def get(self, user: str = "ada", **headers: str) -> httpx.Response:
        return await self.client.get(f"/v1/users/{user}/snapshot", headers=headers)

    def metric(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(f"scalrec_{name}", labels) or 0.0


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    bundle, clock = make_bundle(tmp_path / "bundle"), [1_700_000_000.0]
    embedder, store, (telemetry, log) = Switchable(), SwitchableStore(), quiet()
    app = create_app(
        cloud_settings(max_in_flight=2, max_waiting=1),
        bundle=bundle,
        embedder=embedder,
        store=store,
        telemetry=telemetry,
        now=lambda: clock[0],
    )
    admin_app = create_admin_app(app, telemetry.metrics.registry)
    async with client_of(app) as client, client_of(admin_app) as admin:
        yield Cloud(app, client, admin, bundle, embedder, store, telemetry, log, clock)
