"""The benchmark tells a model that heeds its batch from one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import embedding
from benchmarks.embedding import compare_batches
from cloud_service.embedding.hashing import HashingEmbedder
from tests.support.bundles import make_bundle

TEXTS = [f"drama {n} and noir {n % 7}" for n in range(40)]


class Heeding(HashingEmbedder):
    """Moves every vector of a batch towards the batch's mean."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = await super().embed(texts)
        vectors = vectors + vectors.mean(axis=0)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


async def test_alone_and_in_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "NEAREST", 10)
    bundle = make_bundle(tmp_path / "b")
    cosine, common = await compare_batches(HashingEmbedder(16), bundle, TEXTS)
    assert cosine.ratio == pytest.approx(1, abs=1e-6)
    assert common.ours == common.theirs == 10
    cosine, common = await compare_batches(Heeding(16), bundle, TEXTS)
    assert cosine.ratio < 0.999
    assert 0 < common.ours < 10
