"""The service searches by an index where there are many items, says its recall, and needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from shared.errors import ConfigError
from tests.support.bundles import make_bundle
from tests.support.cloud import client_of, cloud_settings, quiet

ITEMS = 2_000
BODY = {"abstract": "Likes drama.", "step": 7}


async def answered(tmp_path: Path, **cloud: float) -> tuple[list[int], str]:
    """Items of a snapshot, and what the service logged."""
    telemetry, log = quiet()
    app = create_app(
        cloud_settings(**cloud),
        bundle=make_bundle(tmp_path / str(cloud), n_items=ITEMS),
        embedder=HashingEmbedder(16),
        store=MemorySnapshotStore(),
        telemetry=telemetry,
    )
    async with client_of(app) as client:
        response = await client.post("/v1/users/ada/snapshot", json=BODY)
    return response.json()["items"], log.getvalue()


async def test_the_index_serves_and_its_recall_is_logged(tmp_path: Path) -> None:
    exact, said = await answered(tmp_path, exact_below=ITEMS + 1)
    assert "found by an index" not in said
    found, said = await answered(tmp_path, exact_below=ITEMS, least_recall=0.1)
    assert len(found) == len(exact) == 10
    assert set(found) & set(exact)
    assert "found by an index" in said
    assert '"n": 10' in said


async def test_a_service_with_too_little_recall_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"below cloud\.least_recall"):
        await answered(tmp_path, exact_below=ITEMS)  # random vectors have no groups
