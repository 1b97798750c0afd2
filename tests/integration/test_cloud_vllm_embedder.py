"""The client of OpenAI-compatible embedding servers, against a small real HTTP server."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.embedding.vllm import VllmEmbedder
from shared.errors import ConfigError, EmbedderError, EmbedderMismatch, EmbedderUnavailable
from tests.support.embedding_server import EmbeddingServer


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with EmbeddingServer().up() as server:
        yield server


def embedder_of(server: EmbeddingServer, **changes: object) -> VllmEmbedder:
    arguments = {"model": "hashing-16", "pooling": "MEAN", "batch_size": 3, "timeout_s": 2.0}
    return VllmEmbedder(f"{server.url}/v1/", **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("as_lists", [False, True])
async def test_batches_come_back_in_order_and_normalised(
    server: EmbeddingServer, as_lists: bool
) -> None:
    server.as_lists, server.delay_s = as_lists, 0.01
    embedder = embedder_of(server, concurrency=2)
    texts = [f"text {i}" for i in range(14)]
    vectors = await embedder.embed(texts)
    np.testing.assert_allclose(vectors, await HashingEmbedder(16).embed(texts), atol=1e-6)
    assert vectors.dtype == np.float32
    sizes = [len(r["input"]) for r in server.requests]
    assert sizes[0] == 1  # the probe of ready()
    assert sorted(sizes[1:]) == [2, 3, 3, 3, 3]
    assert server.most_at_once == 2
    assert embedder.identity.dim == 16
    assert (await embedder.embed([])).shape == (0, 16)
    await embedder.aclose()


@pytest.mark.parametrize(("limit", "sent"), [(128, 128), (512, 200), (None, None)])
async def test_truncation_is_asked_of_servers_that_know_their_limit(
    server: EmbeddingServer, limit: int | None, sent: int | None
) -> None:
    server.max_model_len = limit
    embedder = embedder_of(server, max_tokens=200)
    await embedder.embed(["drama"])
    assert server.requests[-1].get("truncate_prompt_tokens") == sent
    assert server.requests[-1]["encoding_format"] == "base64"
    await embedder.aclose()


async def test_identity_is_unknown_before_the_server_answered() -> None:
    embedder = embedder_of(EmbeddingServer())
    with pytest.raises(EmbedderUnavailable, match=r"ready\(\)"):
        _ = embedder.identity
    with pytest.raises(EmbedderUnavailable, match="check that it runs"):
        await embedder.ready()
    await embedder.aclose()


async def test_an_address_is_checked_and_its_password_never_shown() -> None:
    with pytest.raises(ConfigError, match=r"embedder\.url is not a URL"):
        VllmEmbedder("http://[::1", model="m", pooling="MEAN")
    port = EmbeddingServer().port
    embedder = VllmEmbedder(f"http://ann:pa55@127.0.0.1:{port}/v1", model="m", pooling="MEAN")
    with pytest.raises(
        EmbedderUnavailable, match=rf"server http://\**@127.0.0.1:{port} "
    ) as refusal:
        await embedder.ready()
    assert "pa55" not in str(refusal.value)
    await embedder.aclose()


async def test_a_server_of_another_model_is_refused(server: EmbeddingServer) -> None:
    server.model = "/models/other"
    embedder = embedder_of(server)
    with pytest.raises(EmbedderMismatch, match="serves /models/other, not hashing-16"):
        await embedder.embed(["drama"])
    server.model = "/models/hashing-16"
    await embedder.embed(["drama"])
    assert server.requests[-1]["model"] == "/models/hashing-16"
    await embedder.aclose()


async def test_a_server_of_another_dimension_is_not_believed_for_ever() -> None:
    server = EmbeddingServer(model="hashing-16", dim=24)
    embedder = embedder_of(server)
    async with server.up():
        await embedder.ready()
        assert embedder.identity.dim == 24
        server.dim = 16  # the right one takes its place before anybody noticed it was away
        await embedder.ready()
        assert embedder.identity.dim == 16
        await embedder.embed(["drama"])
        asked = len(server.requests)
        await embedder.ready()
        assert len(server.requests) == asked, "cheap once it has proved itself"
    await embedder.aclose()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ({"status": 500}, EmbedderUnavailable, "status 500"),
        ({"status": 429}, EmbedderUnavailable, "status 429"),
        ({"status": 400}, EmbedderMismatch, "status 400"),
        ({"damage": "nan"}, EmbedderMismatch, "not finite"),
        ({"damage": "zero"}, EmbedderMismatch, "zero vector"),
        ({"damage": "fewer"}, EmbedderMismatch, "1 vectors to 2"),
        ({"damage": "null"}, EmbedderMismatch, "unknown form"),
        ({"damage": "text"}, EmbedderMismatch, "not answer JSON"),
        ({"dim": 12}, EmbedderMismatch, "12 dimensions, not 16"),
        ({"delay_s": 5.0}, EmbedderUnavailable, "does not answer"),
    ],
)
async def test_faults_while_serving(
    server: EmbeddingServer,
    fault: dict[str, object],
    error: type[EmbedderError],
    words: str,
) -> None:
    embedder = embedder_of(server, timeout_s=0.3)
    before = await embedder.embed(["drama", "noir"])
    healthy = {name: getattr(server, name) for name in fault}
    for name, value in fault.items():
        setattr(server, name, value)
    with pytest.raises(error, match=words):
        await embedder.embed(["drama", "noir"])
    for name, value in healthy.items():
        setattr(server, name, value)
    np.testing.assert_array_equal(await embedder.embed(["drama", "noir"]), before)
    await embedder.aclose()


async def test_killed_and_restarted(server: EmbeddingServer) -> None:
    again = EmbeddingServer()
    embedder = embedder_of(again)
    for _ in range(3):
        async with again.up():
            await asyncio.gather(*(embedder.embed(["drama"]) for _ in range(5)))
        with pytest.raises(EmbedderUnavailable):
            await embedder.embed(["drama"])
    await embedder.aclose()


async def test_a_restart_between_two_calls_goes_unnoticed() -> None:
    server = EmbeddingServer()
    embedder = embedder_of(server)
    async with server.up():
        await embedder.embed(["drama"])
    async with server.up():  # the kept-alive connection is dead
        await embedder.embed(["drama"])
    await embedder.aclose()


async def test_cancelling_embed_stops_its_requests(server: EmbeddingServer) -> None:
    embedder = embedder_of(server, concurrency=4)
    await embedder.ready()
    server.delay_s = 30
    task = asyncio.create_task(embedder.embed([f"t{i}" for i in range(12)]))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.delay_s = 0
    await asyncio.wait_for(embedder.embed(["drama"]), 1)
    await embedder.aclose()
