"""A whole training run over a model that refuses one item's text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.base import all_usable
from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.settings import load_settings
from tests.support.logs import drifting_log
from training.train import train

LOG = drifting_log()
ITEM = 5


class Picky(HashingEmbedder):
    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = await super().embed(texts)
        bad = LOG.catalogue.texts[ITEM]
        refused = {place: "status 500" for place, text in enumerate(texts) if text == bad}
        vectors[list(refused)] = 0
        return all_usable(vectors, refused)


@pytest.mark.slow
async def test_it_goes_on_and_says_so_also_when_stages_are_reused(tmp_path: Path) -> None:
    settings = load_settings(
        work_dir=tmp_path / "runs",
        cache=tmp_path / "cache",
        profile={"window": 8, "local_candidates": 0},
        embedder={"backend": "hashing", "model": "hashing-32"},
        cloud={"candidates": 10},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 1, "test_steps": 2,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 2, "calibration_epochs": 2, "top_l": 5, "threads": 1,
        },
    )  # fmt: skip
    notes = [(await train(settings, LOG, Picky(32))).notes for _ in range(2)]
    assert notes[0] == notes[1]
    _, note = notes[0]  # the first is of the split
    assert "no vector for 1 of " in note
    assert f"item {LOG.catalogue.ids[ITEM]!r}" in note
