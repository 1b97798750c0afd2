"""Generated candidates through the whole service: real app, trained generator, real devices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.transport import AsgiTransport
from device_runtime.settings import LinkSettings
from launch.redis_server import RedisServer
from loadtest.records.recorder import REFRESHES, REQUESTS
from scalrec.jobs.exporting import export_if_changed
from scalrec.settings import load_settings
from shared.bundle import Bundle, load_bundle
from shared.errors import ConfigError
from shared.progress import NullProgress
from shared.schemas import ProblemType
from tests.support.bundles import make_bundle
from tests.support.cloud import client_of, cloud_settings, quiet
from tests.support.devices import CONTEXT, new_device, observe
from tests.support.generators import small_generator, with_generator
from tests.support.logs import drifting_log
from tests.support.replays import records, replay_settings, replay_tiny
from training.generative.export import generator_spec
from training.generative.trained import TrainedGenerator
from training.train import train


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle", n_items=20)


@pytest.fixture(scope="module")
def trained(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    return small_generator(plain, tmp_path_factory.mktemp("generator"), epochs=25)


@pytest.fixture(scope="module")
def bundle(
    plain: Bundle, trained: TrainedGenerator, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    return with_generator(plain, tmp_path_factory.mktemp("bundle") / "b", trained)


@asynccontextmanager
async def app_of(bundle: Bundle, redis: Path | None = None) -> AsyncIterator[FastAPI]:
    """The real app over a memory store, or over a redis-server of its own."""
    if redis is None:
        settings = cloud_settings(candidates_from="generative", embedder={"deadline_s": 10.0})
        yield create_app(settings, bundle=bundle, store=MemorySnapshotStore(), telemetry=quiet()[0])
        return
    async with RedisServer(redis) as server:
        settings = cloud_settings(
            candidates_from="generative", embedder={"deadline_s": 10.0}, redis_url=server.url
        )
        yield create_app(settings, bundle=bundle, telemetry=quiet()[0])


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_a_device_that_tells_its_items_gets_what_the_generator_writes(
    bundle: Bundle, trained: TrainedGenerator, tmp_path: Path, store: str
) -> None:
    device = new_device(bundle)
    observe(device, [7, 8, 9])
    async with (
        app_of(bundle, tmp_path / "redis" if store == "redis" else None) as app,
        LifespanManager(app),
        aclosing(CloudLink(AsgiTransport(app), LinkSettings(deadline_s=20.0))) as link,
    ):
        result = await device.refresh(link, CONTEXT)
        assert result is not None
        assert result.outcome == "fresh", result.detail
        assert device.snapshot is not None
        held = device.snapshot.snapshot
        items, scores = trained.candidate_lists([np.array([7, 8, 9])], 10)
        np.testing.assert_array_equal(held.items, items[0])
        np.testing.assert_allclose(held.scores, scores[0], atol=1e-4)
        assert held.items[0] == 10  # the rule it was trained on
        assert np.any(held.e_sem)
        observe(device, [10], start_s=20_000.0)
        response = device.request(CONTEXT)
        assert response.source == "snapshot"
        assert set(held.items.tolist()) <= set(response.candidates.tolist())
        # Another past under the same words and step is another computation.
        other = new_device(bundle, "bob")
        observe(other, [13, 14, 15])
        await other.refresh(link, CONTEXT)
        assert other.snapshot is not None
        assert other.snapshot.snapshot.items[0] == 16


async def test_a_device_that_tells_nothing_gets_retrieved_candidates(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path
) -> None:
    silent = with_generator(plain, tmp_path / "b", trained, told=False)
    device = new_device(silent)
    observe(device, [7, 8, 9])
    async with (
        app_of(silent) as app,
        LifespanManager(app),
        aclosing(CloudLink(AsgiTransport(app), LinkSettings())) as link,
    ):
        await device.refresh(link, CONTEXT)
    assert device.snapshot is not None
    held = device.snapshot.snapshot
    nearest = np.argsort(-(silent.array("item_vectors.npy") @ held.e_sem))[:10]
    assert held.items.tolist() == nearest.tolist()


async def test_tokens_that_name_no_item_are_a_problem_of_the_request(bundle: Bundle) -> None:
    async with app_of(bundle) as app, client_of(app) as client:
        url = "/v1/users/ada/snapshot"
        unknown = await client.post(
            url, json={"abstract": "Likes drama.", "step": 3, "item_tokens": [[60_000, 0, 0]]}
        )
        assert unknown.status_code == 422
        assert unknown.json()["type"] == ProblemType.INVALID_REQUEST
        assert "item_tokens[0] names no item" in unknown.json()["detail"]
        for tokens in ([[]], [[-1]], [[1.5]], [[70_000]], [[0] * 9], [[0]] * 201):
            answer = await client.post(
                url, json={"abstract": "Likes drama.", "step": 3, "item_tokens": tokens}
            )
            assert answer.status_code == 422, tokens
        ready = await client.get("/readyz")
        assert ready.json()["checks"]["generator"] == "ok"


async def test_a_cloud_that_retrieves_pays_tokens_no_attention(bundle: Bundle) -> None:
    app = create_app(
        cloud_settings(), bundle=bundle, store=MemorySnapshotStore(), telemetry=quiet()[0]
    )
    async with client_of(app) as client:
        bodies = [{"item_tokens": [[60_000, 0, 0]]}, {}]
        answers: list[httpx.Response] = [
            await client.post(
                f"/v1/users/u{number}/snapshot",
                json={"abstract": "Likes drama.", "step": 3, **body},
            )
            for number, body in enumerate(bodies)
        ]
    one, two = (answer.json()["items"] for answer in answers)
    assert one == two


def test_a_fleet_replays_over_generated_candidates_the_same_way_twice(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain")
    bundle = with_generator(plain, tmp_path / "bundle", small_generator(plain, tmp_path))
    usual = replay_settings(bundle, device={"k": 3}, duration_s=60.0)
    cloud = usual.cloud.model_copy(update={"candidates_from": "generative"})
    generated = usual.model_copy(update={"cloud": cloud})
    for name, settings in (("one", generated), ("two", generated), ("retrieved", usual)):
        replay_tiny(tmp_path / name, bundle, settings)
    for table in (REQUESTS, REFRESHES):
        one, two = ((tmp_path / name / table).read_bytes() for name in ("one", "two"))
        assert one == two
    requests, refreshes = records(tmp_path / "one")
    others, _ = records(tmp_path / "retrieved")
    assert "fresh" in set(refreshes["outcome"])
    assert not requests.equals(others)  # other candidates, other answers


def test_asking_for_what_the_bundle_lacks_is_said_at_the_start(plain: Bundle) -> None:
    with pytest.raises(ConfigError, match="has no generator"):
        create_app(
            cloud_settings(candidates_from="generative"), bundle=plain, store=MemorySnapshotStore()
        )


@pytest.mark.slow
def test_training_exports_a_generator_when_the_setting_asks(tmp_path: Path) -> None:
    log = drifting_log(users=16, events=12, items=30)
    settings = load_settings(
        work_dir=tmp_path / "runs",
        cache=tmp_path / "cache",
        profile={"window": 6, "local_candidates": 0},
        abstract={"item_tokens": True},
        cloud={"candidates": 10, "candidates_from": "generative"},
        generative={"codes": 4, "epochs": 1, "history": 5},
        training={
            "dim": 16, "epochs": 1, "restart_epochs": 0, "test_steps": 2, "abstracts_per_user": 4,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 5, "threads": 1,
        },
    )  # fmt: skip
    trained = asyncio.run(train(settings, log, HashingEmbedder(32)))
    assert trained.generator is not None
    progress = NullProgress()
    export_if_changed(trained, settings, tmp_path / "bundle", progress=progress)
    bundle = load_bundle(tmp_path / "bundle")
    spec = bundle.manifest.generator
    assert spec is not None
    assert spec.devices_send_tokens
    assert spec.config == trained.generator.network.config
    _, same = export_if_changed(trained, settings, tmp_path / "bundle", progress=progress)
    assert same
    quietly = load_settings(abstract={"item_tokens": False})
    silent = generator_spec(trained.generator, quietly)
    assert silent is not None
    assert not silent.devices_send_tokens
