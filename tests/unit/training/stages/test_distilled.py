"""A structure model taught by two others: which ones, what is shared, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.settings import Settings, load_settings
from shared.errors import ConfigError
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from training import options
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.stages.store import StageStore
from training.stages.structure import teaching

LOG = drifting_log(users=10, events=20)


def settings_for(folder: Path, seed: int = 0, **training: object) -> Settings:
    small = {
        "dim": 8, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 2,
        "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 4, "threads": 1,
        "distil": True,
    }  # fmt: skip
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        seed=seed,
        profile={"window": 6, "local_candidates": 0},
        embedder={"backend": "hashing", "model": "hashing-16"},
        training=small | training,
    )


@contextmanager
def opened(settings: Settings) -> Iterator[TrainingRun]:
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        store = StageStore(settings.work_dir / "stages")
        yield TrainingRun(settings, LOG, HashingEmbedder(16), cache, store, NullProgress())


def test_three_seeds_teach_one_another() -> None:
    assert [teaching(seed) for seed in range(5)] == [(1, 2), (0, 2), (0, 1), (4, 5), (3, 5)]


def test_the_teachers_are_the_models_of_the_other_seeds(tmp_path: Path) -> None:
    """So that three seeds of both kinds train no structure model beside their own."""
    with opened(settings_for(tmp_path)) as run:
        taught = run.structure
        others = []
        for seed in (0, 1, 2):
            with opened(settings_for(tmp_path, seed, distil=False)) as plain:
                others.append(plain.structure.key)
        assert [stage.key for stage in taught.upstream] == [run.items.key, *others[1:]]
        assert taught.name == "distilled"
        assert taught.key not in others
    with opened(settings_for(tmp_path, item_start="random")) as run:
        assert len(run.structure.upstream) == 2


@pytest.mark.parametrize("split", ["user", "global"])
async def test_it_is_trained_once_and_read_again(tmp_path: Path, split: str) -> None:
    with opened(settings_for(tmp_path, split=split)) as run:
        first = await run.backbone()
        assert run.store.reused == []
    with opened(settings_for(tmp_path, split=split)) as run:
        second = await run.backbone()
        assert "distilled" in run.store.reused
        assert "backbone" not in run.store.seconds  # teachers are not even read
    assert len(second.table.bias) == len(LOG.catalogue)
    assert torch.equal(first.table.vectors, second.table.vectors)
    with opened(settings_for(tmp_path, split=split, distil=False)) as run:
        alone = await run.backbone()
    assert not torch.equal(alone.table.vectors, first.table.vectors)


def test_a_catalogue_too_large_for_whole_answers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "FULL_SOFTMAX_ITEMS", len(LOG.catalogue) - 1)
    with (
        opened(settings_for(tmp_path)) as run,
        pytest.raises(ConfigError, match=r"40 items are too many.*training.distil=false"),
    ):
        _ = run.structure
