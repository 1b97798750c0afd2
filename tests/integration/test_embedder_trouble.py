"""The cloud on real sockets over an embedding server that hangs, lies, stumbles or repeats."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest

import cloud_service.user_model
from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from shared.bundle import EmbedderIdentity
from shared.fixed_texts import TEXTS, FixedTexts
from shared.schemas import ProblemType
from tests.support import server_shapes
from tests.support.bundles import make_bundle
from tests.support.cloud import admin_client, cloud_settings, quiet
from tests.support.server_shapes import DIM, MODEL, ShapedServer
from tests.support.servers import serving

PRIVATE = "Visits the Marigold clinic on Tuesdays."


@dataclass
class Cloud:
    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    server: ShapedServer
    log: io.StringIO

    async def post(self, abstract: str = "Likes drama.", user: str = "ada") -> httpx.Response:
        body = {"abstract": abstract, "step": 1}
        return await self.client.post(f"/v1/users/{user}/snapshot", json=body)

    async def embedder(self) -> str:
        """What the admin port's /readyz says of it."""
        state: str = (await self.admin.get("/readyz")).json()["checks"]["embedder"]
        return state


@asynccontextmanager
async def cloud_over(
    tmp_path: Path, *, turn: float = 0.0, deadline_s: float = 9.0
) -> AsyncIterator[Cloud]:
    """A cloud and its embedding server.

    Args:
        turn: how far the vectors of the bundle's fixed texts lie from what is served.
    """
    vectors = await HashingEmbedder(DIM).embed(TEXTS)
    bundle = make_bundle(
        tmp_path / "bundle",
        text_dim=DIM,
        fixed=FixedTexts(TEXTS, vectors + np.float32(turn) * np.roll(vectors, 1, axis=1)),
        embedder=EmbedderIdentity(backend="vllm", model=MODEL, pooling="MEAN", dim=DIM),
    )
    telemetry, log = quiet()
    async with ShapedServer(server_shapes.vllm()).up() as server:
        settings = cloud_settings(
            embedder={
                "backend": "vllm", "model": MODEL, "url": server.url, "deadline_s": deadline_s
            }
        )  # fmt: skip
        app = create_app(settings, bundle=bundle, store=MemorySnapshotStore(), telemetry=telemetry)
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
            yield Cloud(client, admin_client(app, telemetry), server, log)


async def test_a_dead_engine_behind_a_live_server_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_s = 0.5
    monkeypatch.setattr(cloud_service.user_model, "PROVE_EVERY_S", every_s)
    async with cloud_over(tmp_path, deadline_s=0.3) as cloud:
        assert (await cloud.post()).status_code == 200
        assert await cloud.embedder() == "ok"
        cloud.server.hung = True
        async with httpx.AsyncClient(base_url=cloud.server.url) as direct:
            assert (await direct.get("/health")).status_code == 200
        async with asyncio.timeout(every_s + 2):
            state = "ok"
            while state == "ok":
                state = await cloud.embedder()
        assert "did not answer within 0.3 s" in state
        assert (await cloud.client.get("/readyz")).status_code == 503
        assert (await cloud.client.get("/healthz")).status_code == 200
        cloud.server.hung = False
        assert await cloud.embedder() == "ok"
        assert (await cloud.post(user="bob")).status_code == 200


async def test_refreshes_that_fail_are_seen_at_once(tmp_path: Path) -> None:
    async with cloud_over(tmp_path, deadline_s=0.3) as cloud:
        assert await cloud.embedder() == "ok"
        cloud.server.hung = True
        assert (await cloud.post()).status_code == 503
        assert "did not answer" in await cloud.embedder()


async def test_never_ready_over_an_engine_that_never_answered(tmp_path: Path) -> None:
    async with cloud_over(tmp_path, deadline_s=0.3) as cloud:
        cloud.server.hung = True
        for _ in range(2):
            assert "did not answer" in await cloud.embedder()


async def test_readiness_costs_one_text_in_a_while(tmp_path: Path) -> None:
    async with cloud_over(tmp_path) as cloud:
        await cloud.embedder()
        asked = len(cloud.server.sizes)
        for _ in range(20):
            assert await cloud.embedder() == "ok"
        assert len(cloud.server.sizes) == asked


@pytest.mark.parametrize("turn", [1.0, 0.2])
async def test_another_model_under_the_same_name_serves_nobody(tmp_path: Path, turn: float) -> None:
    async with cloud_over(tmp_path, turn=turn) as cloud:
        answer = await cloud.post()
        assert answer.status_code == 503
        assert answer.json()["type"] == ProblemType.EMBEDDER_MISMATCH
        assert "gives other vectors" in answer.json()["detail"]
        assert "; likeliest: " in await cloud.embedder()


@pytest.mark.parametrize("fate", ["nan", "500", "400", "echo"])
async def test_a_text_that_the_model_refuses_fails_for_its_user_alone(
    tmp_path: Path, fate: str
) -> None:
    async with cloud_over(tmp_path) as cloud:
        assert await cloud.embedder() == "ok"
        cloud.server.poison = {PRIVATE: fate}
        answers = await asyncio.gather(
            *(cloud.post(f"Likes drama {n}.", f"u{n}") for n in range(8)),
            cloud.post(PRIVATE, "ada"),
        )
        assert [answer.status_code for answer in answers] == [200] * 8 + [422]
        problem = answers[-1].json()
        assert problem["type"] == ProblemType.ABSTRACT_REFUSED
        assert await cloud.embedder() == "ok"
        told = problem["detail"] + cloud.log.getvalue()
        assert "arigold" not in told
        assert "uesday" not in told
        assert "no usable vector" in cloud.log.getvalue()


async def test_whoever_has_a_snapshot_keeps_it(tmp_path: Path) -> None:
    async with cloud_over(tmp_path) as cloud:
        assert (await cloud.post()).status_code == 200
        cloud.server.poison = {PRIVATE: "500"}
        stale = await cloud.post(PRIVATE)
        assert stale.status_code == 200
        assert stale.json()["stale"]


async def test_a_bundle_without_fixed_texts_is_served_with_a_warning(tmp_path: Path) -> None:
    telemetry, log = quiet()
    app = create_app(
        cloud_settings(),
        bundle=make_bundle(tmp_path / "b"),
        store=MemorySnapshotStore(),
        telemetry=telemetry,
    )
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/readyz")).status_code == 200
    assert "keeps no vectors of fixed texts" in log.getvalue()
