"""Texts that a model gives no vector: counted, named, and neutral; too many stop training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.base import all_usable
from cloud_service.embedding.hashing import HashingEmbedder
from shared.errors import EmbedderMismatch
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.texts import embed_texts, refusal_note, refused_rows


class Picky(HashingEmbedder):
    """Gives no vector of texts that hold ``nan``."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = await super().embed(texts)
        refused = {
            place: "a vector of values that are not finite"
            for place, text in enumerate(texts)
            if "nan" in text
        }
        vectors[list(refused)] = 0
        return all_usable(vectors, refused)


async def test_one_text_of_many_gets_the_mean_of_the_others(tmp_path: Path) -> None:
    texts = ["drama", "nan", "noir", "comedy", "nan"]
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        vectors = await embed_texts(Picky(32), texts, cache, batch_size=2)
        assert len(cache) == 3, "what stands in for a vector is not kept"
    good = await HashingEmbedder(32).embed(["drama", "noir", "comedy"])
    np.testing.assert_array_equal(vectors[[0, 2, 3]], good)
    np.testing.assert_allclose(vectors[[1, 4]], [good.mean(axis=0)] * 2, atol=1e-6)
    np.testing.assert_array_equal(refused_rows(vectors), [1, 4])
    note = refusal_note(vectors, "item texts", lambda row: f"item {row}")
    assert note.startswith("the text model gives no vector for 2 of 5 item texts (item 1, item 4)")
    assert refusal_note(good, "item texts", str) == ""


@pytest.mark.parametrize(("bad", "count"), [(2, 20), (3, 200), (1, 1), (5, 5)])
async def test_too_many_stop_training_and_are_named(tmp_path: Path, bad: int, count: int) -> None:
    texts = [f"nan {n}" if n < bad else f"drama {n}" for n in range(count)]
    with (
        EmbeddingCache(tmp_path / "c.sqlite") as cache,
        pytest.raises(EmbedderMismatch, match=r"item 0 \(a vector of values that are not finite\)"),
    ):
        await embed_texts(Picky(32), texts, cache, name=lambda row: f"item {row}")
    with EmbeddingCache(tmp_path / "c.sqlite") as cache:
        assert len(cache) == count - bad, "the others need not be computed again"
