from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.hashing import HashingEmbedder
from shared.bundle import EmbedderIdentity
from shared.errors import ConfigError, EmbedderMismatch, EmbedderUnavailable
from training.semantic.embedding_cache import EmbeddingCache, cache_key
from training.semantic.texts import embed_texts, reduce_vectors

IDENTITY = EmbedderIdentity(backend="hashing", model="hashing-16", pooling="MEAN", dim=16)


class Counting:
    """The real hashing embedder, counting what it is asked and failing when told to."""

    def __init__(self) -> None:
        self.inner = HashingEmbedder(16)
        self.identity = self.inner.identity
        self.asked: list[str] = []
        self.flying = self.most_flying = 0
        self.busy = asyncio.Event()  # a dozen texts have been answered
        self.fail_after: int | None = None
        self.wrong: NDArray[np.float32] | None = None

    async def ready(self) -> None:
        await self.inner.ready()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            # Later batches answer first: order must not come from completion.
            await asyncio.sleep(0.02 / (1 + len(self.asked)))
            if self.fail_after is not None and len(self.asked) >= self.fail_after:
                raise EmbedderUnavailable("server went away")
            self.asked += texts
            if len(self.asked) >= 12:
                self.busy.set()
            return self.wrong if self.wrong is not None else await self.inner.embed(texts)
        finally:
            self.flying -= 1

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.fixture
def cache(tmp_path: Path):
    with EmbeddingCache(tmp_path / "embeddings.sqlite") as opened:
        yield opened


async def test_keeps_order_embeds_equal_texts_once_and_overlaps_batches(
    cache: EmbeddingCache,
) -> None:
    texts = [f"text {i % 30} {'long ' * (i % 7)}" for i in range(100)]
    embedder = Counting()
    found = await embed_texts(embedder, texts, cache, batch_size=4, concurrency=3)
    np.testing.assert_array_equal(found, await embedder.inner.embed(texts))
    assert sorted(embedder.asked) == sorted(set(texts))
    assert embedder.most_flying == 3


async def test_second_run_asks_for_nothing(cache: EmbeddingCache) -> None:
    texts = ["one", "two", "three"]
    first = await embed_texts(Counting(), texts, cache)
    embedder = Counting()
    second = await embed_texts(embedder, [*texts[::-1], "four"], cache)
    assert embedder.asked == ["four"]
    np.testing.assert_array_equal(second[:3], first[::-1])


async def test_interrupted_run_resumes_with_what_was_finished(cache: EmbeddingCache) -> None:
    texts = [f"t{i}" for i in range(40)]
    broken = Counting()
    broken.fail_after = 20
    with pytest.raises(EmbedderUnavailable, match="went away"):
        await embed_texts(broken, texts, cache, batch_size=4, concurrency=2)
    assert len(cache) == len(broken.asked) >= 20
    embedder = Counting()
    found = await embed_texts(embedder, texts, cache, batch_size=4)
    assert not set(embedder.asked) & set(broken.asked)
    np.testing.assert_array_equal(found, await embedder.inner.embed(texts))


async def test_cancelling_stops_all_batches_and_keeps_finished_ones(cache: EmbeddingCache) -> None:
    embedder = Counting()
    texts = [f"t{i}" for i in range(400)]
    run = asyncio.create_task(embed_texts(embedder, texts, cache, batch_size=4, concurrency=3))
    await embedder.busy.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    asked = len(embedder.asked)
    await asyncio.sleep(0.05)
    assert embedder.flying == 0
    assert len(embedder.asked) == asked < 400
    assert len(cache) >= 12


@pytest.mark.parametrize(
    "wrong",
    [np.ones((3, 15), np.float32), np.zeros((3, 16), np.float32), np.full((3, 16), np.nan, "f4")],
    ids=["dimension", "zeros", "nan"],
)
async def test_unusable_vectors_are_refused_and_not_kept(
    cache: EmbeddingCache, wrong: NDArray[np.float32]
) -> None:
    embedder = Counting()
    embedder.wrong = wrong
    with pytest.raises(EmbedderMismatch):
        await embed_texts(embedder, ["a", "b", "c"], cache)
    assert len(cache) == 0


async def test_no_texts_give_an_empty_matrix(cache: EmbeddingCache) -> None:
    assert (await embed_texts(Counting(), [], cache)).shape == (0, 16)


def test_keys_separate_model_pooling_variant_and_text() -> None:
    other_model = IDENTITY.model_copy(update={"model": "other"})
    other_pooling = IDENTITY.model_copy(update={"pooling": "LAST"})
    keys = {
        cache_key(IDENTITY, "a"),
        cache_key(IDENTITY, "b"),
        cache_key(IDENTITY, "a", "max_tokens=16"),
        cache_key(other_model, "a"),
        cache_key(other_pooling, "a"),
        cache_key(IDENTITY.model_copy(update={"model": "hashing-16M"}), "a"),
    }
    assert len(keys) == 6
    other_backend = IDENTITY.model_copy(update={"backend": "vllm"})
    assert cache_key(other_backend, "a") == cache_key(IDENTITY, "a")


def fill(cache: EmbeddingCache, count: int = 200) -> dict[bytes, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, 16)).astype(np.float32)
    keys = [cache_key(IDENTITY, str(i)) for i in range(count)]
    cache.put_many(keys, vectors)
    return dict(zip(keys, vectors, strict=True))


def test_a_file_that_is_no_database_is_set_aside_and_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with EmbeddingCache(path) as cache:
        assert cache.set_aside is not None
        assert cache.set_aside.read_bytes().startswith(b"this is not")
        expected = fill(cache)
        assert cache.get_many(list(expected), 16).keys() == expected.keys()


def test_a_database_damaged_inside_never_answers_wrongly(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    with EmbeddingCache(path) as cache:
        expected = fill(cache)
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):  # every page but the first, in its middle
        data[start + 2000 : start + 2100] = bytes(100)
    path.write_bytes(data)
    with EmbeddingCache(path) as cache:
        found = cache.get_many(list(expected), 16)
        for key, vector in found.items():
            np.testing.assert_array_equal(vector, expected[key])
        assert len(found) < len(expected)
        cache.put_many(list(expected), np.stack(list(expected.values())))
        assert len(cache.get_many(list(expected), 16)) == len(expected)


def test_pages_that_sqlite_calls_malformed_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    with EmbeddingCache(path) as cache:
        expected = fill(cache)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with EmbeddingCache(path) as cache:
        assert cache.get_many(list(expected), 16) == {}
        assert cache.set_aside is not None
        cache.put_many(list(expected), np.stack(list(expected.values())))
        assert len(cache.get_many(list(expected), 16)) == len(expected)


def test_vectors_of_another_length_count_as_missing(cache: EmbeddingCache) -> None:
    expected = fill(cache)
    assert cache.get_many(list(expected), 8) == {}


def test_unusable_path_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="SCALREC_CACHE"):
        EmbeddingCache(tmp_path / "file" / "embeddings.sqlite")


def test_a_full_disk_is_a_clear_error_and_keeps_earlier_batches(cache: EmbeddingCache) -> None:
    expected = fill(cache, 20)
    (pages,) = cache._db.execute("PRAGMA page_count").fetchone()
    cache._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(ConfigError, match=r"full.*Make room"):
        fill(cache, 2000)
    assert len(cache.get_many(list(expected), 16)) == 20


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    EmbeddingCache(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ConfigError, match="format 99"):
        EmbeddingCache(path)


WRITER = """
import sys, numpy as np
from pathlib import Path
from training.semantic.embedding_cache import EmbeddingCache
with EmbeddingCache(Path(sys.argv[1])) as cache:
    for i in range(50):
        key = f"{sys.argv[2]}-{i}".encode().ljust(32)
        cache.put_many([key], np.full((1, 4), i, np.float32))
"""


def test_processes_may_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with EmbeddingCache(path) as cache:
        assert len(cache) == 150
        assert cache.set_aside is None


def test_reduction_is_pca_up_to_one_scale() -> None:
    rng = np.random.default_rng(3)
    text = (rng.standard_normal((50, 6)) @ rng.standard_normal((6, 20)) + 5).astype(np.float32)
    reduced = reduce_vectors(text, 6)
    assert reduced.dtype == np.float32
    assert np.sqrt((reduced**2).sum(1).mean()) == pytest.approx(1.0, rel=0.02)

    # Distances survive: the data has rank 6, so nothing but the common scale is lost.
    def distances(x: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.linalg.norm(x[:, None].astype(float) - x[None], axis=-1)[np.triu_indices(50, 1)]

    ratio = distances(reduced) / distances(text)
    assert ratio.std() / ratio.mean() < 0.02
    np.testing.assert_array_equal(reduced, reduce_vectors(text, 6))


def test_reduction_pads_and_separates_equal_items() -> None:
    text = np.ones((5, 3), dtype=np.float32)
    reduced = reduce_vectors(text, 8, seed=1)
    assert reduced.shape == (5, 8)
    assert len(np.unique(reduced, axis=0)) == 5
    assert np.isfinite(reduced).all()
    assert not np.array_equal(reduced, reduce_vectors(text, 8, seed=2))


def test_reduction_refuses_nan() -> None:
    with pytest.raises(ValueError, match="finite"):
        reduce_vectors(np.full((3, 4), np.nan, np.float32), 2)
