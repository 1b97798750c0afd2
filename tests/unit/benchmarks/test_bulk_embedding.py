"""The bench's rows of back ends that embed in bulk: each runs the model, and coarser ones show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bulk_embedding
from benchmarks.bulk_embedding import BulkRun, bulk_lines, compare_bulk
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.settings import EmbedderSettings
from tests.support.bundles import make_bundle
from tests.support.text_models import WIDTH, tiny_model

WORDS = ["a", "cat", "dog", "sleeps", "barks", "loudly", "film", "noir"]
TEXTS = [" ".join(WORDS[i % 8 :][: 1 + i % 5]) for i in range(24)]


def test_rows_say_how_far_vectors_and_candidates_lie_apart() -> None:
    reference = BulkRun("right", 10.0, np.eye(2, dtype=np.float32))
    turned = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    right, found = np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 9]])
    rate, cosine, common = bulk_lines(BulkRun("ours", 15.0, turned), reference, found, right)
    assert (rate.ratio, rate.unit) == (1.5, "texts/s")
    assert cosine.ratio == pytest.approx(0.8)
    assert "mean 0.90000" in cosine.name
    assert (common.ours, common.theirs) == (1.5, 2)


async def test_every_back_end_embeds_with_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_embedding, "NEAREST", 5)
    lines = await compare_bulk(
        HashingEmbedder(WIDTH),
        make_bundle(tmp_path / "bundle", text_dim=WIDTH),
        TEXTS,
        model_dir=tiny_model(tmp_path / "model", WORDS),
        wanted=EmbedderSettings(backend="transformers", model="tiny", batch_size=4, max_tokens=16),
        threads=1,
        folder=tmp_path / "onnx",
    )
    rates, cosines, commons = lines[::3], lines[1::3], lines[2::3]
    assert all(line.ours > 0 for line in rates)
    brain, whole, int8, other = (line.ratio for line in cosines)
    assert whole > 0.99999
    assert whole > brain > 0.99
    assert whole > int8 > 0.9
    assert other < 0.9  # hashing is no model of that kind
    assert commons[1].ours == 5
