"""Embedders start when they are needed, and cells share them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloud_service.embedding.base import model_content
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.settings import EmbedderSettings
from experiments.lazy_embedder import LazyEmbedder, identity_of
from experiments.servers import SharedServers
from scalrec.options import settings_over
from scalrec.settings import Settings
from shared.bundle import EmbedderIdentity
from shared.errors import ConfigError, EmbedderMismatch, LaunchError
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.texts import embed_texts

IDENTITY = HashingEmbedder(32).identity


async def test_cached_texts_start_no_embedder(tmp_path: Path) -> None:
    starts = []

    async def start() -> HashingEmbedder:
        starts.append(1)
        return HashingEmbedder(32)

    with EmbeddingCache(tmp_path / "e.sqlite") as cache:
        first = await embed_texts(HashingEmbedder(32), ["a", "b"], cache)
        lazy = LazyEmbedder(IDENTITY, start)
        again = await embed_texts(lazy, ["b", "a"], cache)
        assert (again[::-1] == first).all()
        assert starts == []
        assert not lazy.started
        texts = [f"text {i}" for i in range(9)]
        more = await embed_texts(lazy, ["a", *texts], cache, batch_size=2)
        assert more.shape == (10, 32)
        assert starts == [1]  # several batches at once, one start
        await lazy.aclose()


async def test_another_model_than_promised_is_refused() -> None:
    async def start() -> HashingEmbedder:
        return HashingEmbedder(16)

    with pytest.raises(EmbedderMismatch, match=r"dim=32.*dim=16"):
        await LazyEmbedder(IDENTITY, start).embed(["a"])


def test_identity_without_loading_the_model(tmp_path: Path) -> None:
    settings = EmbedderSettings(backend="transformers", model="minilm", pooling="LAST")
    with pytest.raises(ConfigError, match=r"config\.json does not give"):
        identity_of(settings, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 384}))
    assert identity_of(settings, tmp_path) == EmbedderIdentity(
        backend="transformers",
        model="minilm",
        pooling="LAST",
        dim=384,
        content=model_content(tmp_path),
    )


class Servers:
    """Counts the servers that run."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @asynccontextmanager
    async def serve(self, settings: Settings) -> AsyncIterator[str]:
        name = f"{settings.embedder.model}-{settings.embedder.pooling}"
        if name.startswith("broken"):
            raise LaunchError("no memory")
        self.log.append(f"+{name}")
        await asyncio.sleep(0.01)
        yield f"http://{name}"
        self.log.append(f"-{name}")


def wanting(model: str, pooling: str = "MEAN") -> Settings:
    return settings_over({"embedder": {"model": model, "pooling": pooling}})


async def test_one_server_per_model_shared_and_stopped() -> None:
    servers = Servers()
    shared = SharedServers(servers.serve)
    urls = await asyncio.gather(*(shared.url(wanting("a"), holder) for holder in range(3)))
    assert set(urls) == {"http://a-MEAN"}
    assert servers.log == ["+a-MEAN"]
    await shared.url(wanting("a", "LAST"), "x")  # the first is still held
    assert servers.log == ["+a-MEAN", "+a-LAST"]
    for holder in range(3):
        shared.release(holder)
    await shared.url(wanting("b"), "y")
    assert servers.log[2:] == ["-a-MEAN", "+b-MEAN"]
    await shared.aclose()
    assert sorted(servers.log[4:]) == ["-a-LAST", "-b-MEAN"]


async def test_a_server_that_does_not_start_leaves_nothing() -> None:
    servers = Servers()
    shared = SharedServers(servers.serve)
    with pytest.raises(LaunchError):
        await shared.url(wanting("broken"), "x")
    assert await shared.url(wanting("a"), "x") == "http://a-MEAN"
    await shared.aclose()
    assert servers.log == ["+a-MEAN", "-a-MEAN"]
