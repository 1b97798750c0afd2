"""The whole service on real sockets: uvicorn, redis-server, an embedding server over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from cloud_service.app import create_app
from launch.redis_server import RedisServer
from shared.bundle import Bundle
from shared.schemas import ProblemType
from shared.snapshot import MEDIA_TYPE, decode, verify
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.embedding_server import EmbeddingServer
from tests.support.servers import free_port, serving


@dataclass
class System:
    """A cloud service whose Redis and embedding server tests start and stop."""

    client: httpx.AsyncClient
    bundle: Bundle
    redis: RedisServer
    embeddings: EmbeddingServer

    async def post(self, user: str = "ada", step: int = 1) -> httpx.Response:
        return await self.client.post(
            f"/v1/users/{user}/snapshot",
            json={"abstract": f"Likes drama; {user} at {step}.", "step": step},
            headers={"Accept": MEDIA_TYPE},
        )

    async def get(self, user: str = "ada") -> httpx.Response:
        return await self.client.get(f"/v1/users/{user}/snapshot", headers={"Accept": MEDIA_TYPE})

    async def down(self) -> set[str]:
        """Parts that /readyz calls not ready."""
        checks = (await self.client.get("/readyz")).json()["checks"]
        return {name for name, state in checks.items() if state != "ok"}

    def tau(self, response: httpx.Response, user: str = "ada") -> int:
        assert response.status_code == 200, response.text
        snapshot = decode(response.content)
        verify(snapshot, user=user, bundle_id=self.bundle.id, dim=8, n_items=50)
        return snapshot.tau


@asynccontextmanager
async def system(
    tmp_path: Path, *, deadline_s: float = 0.5, **cloud: object
) -> AsyncIterator[System]:
    redis = RedisServer(tmp_path / "redis", port=free_port())
    await redis.start()
    await redis.stop()  # has a port and a password now, and is down
    embeddings = EmbeddingServer()
    bundle = make_bundle(tmp_path / "bundle")
    settings = cloud_settings(
        embedder={"backend": "vllm", "url": embeddings.url, "deadline_s": deadline_s},
        redis_url=redis.url,
        **cloud,
    )
    app = create_app(settings, bundle=bundle, telemetry=quiet()[0])
    try:
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
            yield System(client, bundle, redis, embeddings)
            if redis.process is not None and redis.process.running:
                assert await redis.lasting_keys() == []
    finally:
        await redis.stop()


def problem(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    kind: str = response.json()["type"]
    return kind


async def test_starts_with_everything_down_and_recovers_by_itself(tmp_path: Path) -> None:
    async with system(tmp_path) as s:
        assert (await s.client.get("/healthz")).status_code == 200
        assert await s.down() == {"store", "embedder"}
        assert problem(await s.post()) == ProblemType.EMBEDDER_UNAVAILABLE
        assert problem(await s.get()) == ProblemType.STORE_UNAVAILABLE
        async with s.embeddings.up():
            assert await s.down() == {"store"}
            fresh = await s.post()
            assert s.tau(fresh) == 1
            assert fresh.headers["scalrec-stored"] == "false"
            await s.redis.start()
            assert await s.down() == set()
            assert (await s.post()).headers["scalrec-stored"] == "true"
            assert s.tau(await s.get()) == 1


async def test_redis_killed_and_restarted_while_serving(tmp_path: Path) -> None:
    async with system(tmp_path) as s, s.embeddings.up():
        await s.redis.start()
        assert s.tau(await s.post(step=1)) == 1
        stop = asyncio.Event()
        seen: list[httpx.Response] = []

        async def traffic(user: str) -> None:
            step = 1
            while not stop.is_set():
                step += 1
                answer = await s.post(user, step)
                assert s.tau(answer, user) == step  # always answered, always its own
                seen.append(answer)

        tasks = [asyncio.create_task(traffic(f"u{i}")) for i in range(4)]
        await asyncio.sleep(0.2)
        assert s.redis.process is not None
        s.redis.process.kill()
        await s.redis.stop()
        await asyncio.sleep(0.3)
        assert problem(await s.get()) == ProblemType.STORE_UNAVAILABLE
        await s.redis.start()
        await asyncio.sleep(0.2)
        stop.set()
        await asyncio.gather(*tasks)
        stored = [answer.headers["scalrec-stored"] for answer in seen]
        assert set(stored) == {"true", "false"}
        assert stored[-1] == "true"
        assert problem(await s.get()) == ProblemType.NO_SNAPSHOT  # lost with Redis, not mixed up
        for i in range(4):
            assert s.tau(await s.get(f"u{i}"), f"u{i}") > 1


async def test_embedder_killed_slow_or_wrong_gives_the_last_snapshot(tmp_path: Path) -> None:
    async with system(tmp_path) as s:
        await s.redis.start()
        async with s.embeddings.up():
            assert s.tau(await s.post(step=1)) == 1
        killed = await s.post(step=2)
        assert (s.tau(killed), killed.headers["scalrec-stale"]) == (1, "true")
        assert await s.down() == {"embedder"}
        async with s.embeddings.up():
            assert s.tau(await s.post(step=3)) == 3
            s.embeddings.delay_s = 5
            started = asyncio.get_running_loop().time()
            slow = await s.post(step=4)
            assert asyncio.get_running_loop().time() - started < 3  # the server takes 5
            assert (s.tau(slow), slow.headers["scalrec-stale"]) == (3, "true")
            stranger = await s.post("bob", step=4)
            assert problem(stranger) == ProblemType.EMBEDDER_UNAVAILABLE
            assert stranger.headers["retry-after"] == "1"
            s.embeddings.delay_s = 0
            assert s.tau(await s.post(step=5)) == 5
            s.embeddings.dim, s.embeddings.model = 12, "hashing-16"
            wrong = await s.post(step=6)
            assert (s.tau(wrong), wrong.headers["scalrec-stale"]) == (5, "true")
            assert problem(await s.post("bob", step=6)) == ProblemType.EMBEDDER_MISMATCH


async def test_a_server_of_another_dimension_never_becomes_ready(tmp_path: Path) -> None:
    async with system(tmp_path) as s:
        await s.redis.start()
        s.embeddings.dim, s.embeddings.model = 12, "hashing-16"
        async with s.embeddings.up():
            assert await s.down() == {"embedder"}
            answer = await s.post()
            assert problem(answer) == ProblemType.EMBEDDER_MISMATCH
            assert "16 dimensions" in answer.json()["detail"]
            assert "12 dimensions" in answer.json()["detail"]


async def test_overload_is_refused_and_the_rest_served(tmp_path: Path) -> None:
    limits = {"max_in_flight": 2, "max_waiting": 2}
    async with system(tmp_path, deadline_s=10, **limits) as s, s.embeddings.up():
        await s.redis.start()
        await s.post()
        s.embeddings.delay_s, s.embeddings.most_at_once = 1.0, 0
        answers = await asyncio.gather(*(s.post(f"u{i}", 2) for i in range(12)))
        assert sorted(a.status_code for a in answers) == [200] * 4 + [429] * 8
        assert s.embeddings.most_at_once == 2
