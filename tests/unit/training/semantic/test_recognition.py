"""A server of somebody else is known by its vectors, and nothing of another one is reused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.base import TextsRefused
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.settings import EmbedderSettings
from shared.errors import EmbedderMismatch, EmbedderUnavailable
from shared.progress import NullProgress
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.recognition import recognise
from training.stages.embedding import TextEmbedding

SETTINGS = EmbedderSettings(backend="vllm", model="served")


class Server(HashingEmbedder):
    """Says the same of itself whatever it computes."""

    def __init__(self, turn: float = 0.0):
        super().__init__(32)
        self.identity = self.identity.model_copy(update={"backend": "vllm", "model": "served"})
        self.turn = turn
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        vectors = await super().embed(texts)
        vectors = vectors + np.float32(self.turn) * np.roll(vectors, 1, axis=1)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


async def embedding_of(server: Server, cache: EmbeddingCache) -> TextEmbedding:
    await recognise(server, cache)
    return TextEmbedding.of(SETTINGS, server, cache)


async def test_kept_vectors_are_of_the_model_that_is_served(tmp_path: Path) -> None:
    path, progress = tmp_path / "cache.sqlite", NullProgress()
    made = []
    for turn in (0.0, 0.01, 1.0, 0.0):
        with EmbeddingCache(path) as cache:  # each in a run of its own
            server = Server(turn)
            embedding = await embedding_of(server, cache)
            server.asked.clear()
            vectors = await embedding.vectors(["drama", "noir"], "", progress)
            made.append((embedding.decides, len(server.asked), vectors))
    keys, asked, vectors = zip(*made, strict=True)
    assert asked == (2, 0, 2, 0)
    assert keys[0] == keys[1] == keys[3] != keys[2]
    np.testing.assert_array_equal(vectors[0], vectors[3])
    own = await Server(1.0).embed(["drama", "noir"])
    np.testing.assert_array_equal(vectors[2], own)


async def test_models_known_by_their_files_need_no_measurement(tmp_path: Path) -> None:
    server = Server()
    server.identity = server.identity.model_copy(update={"content": "a" * 16})
    with EmbeddingCache(tmp_path / "cache.sqlite") as cache:
        first = (await embedding_of(server, cache)).decides
        server.identity = server.identity.model_copy(update={"content": "b" * 16})
        assert (await embedding_of(server, cache)).decides != first
    assert server.asked == []


async def test_nothing_is_reused_of_a_model_that_nobody_recognised(tmp_path: Path) -> None:
    with (
        EmbeddingCache(tmp_path / "cache.sqlite") as cache,
        pytest.raises(EmbedderUnavailable, match="not been recognised"),
    ):
        TextEmbedding.of(SETTINGS, Server(), cache)


async def test_a_fixed_text_may_be_refused_and_most_may_not(tmp_path: Path) -> None:
    class Picky(Server):
        most = 1

        async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            vectors = await super().embed(texts)
            vectors[: self.most] = 0
            raise TextsRefused(dict.fromkeys(range(self.most), "status 500"), vectors)

    with EmbeddingCache(tmp_path / "cache.sqlite") as cache:
        picky = Picky()
        known = await recognise(picky, cache)
        cache.recognised.clear()
        assert await recognise(picky, cache) == known
        cache.recognised.clear()
        picky.most = 15
        with pytest.raises(EmbedderMismatch, match="no vector for most fixed texts"):
            await recognise(picky, cache)


async def test_a_damaged_memory_is_as_none(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "cache.sqlite") as cache:
        known = await recognise(Server(), cache)
        (name,) = cache.recognised
        nan = np.full(16 * 32, np.nan, dtype="<f4").tobytes()
        for blob in (b"", b"short", nan):
            cache.add_model(name, str(known), blob)
            cache.recognised.clear()
            assert await recognise(Server(), cache) == known
