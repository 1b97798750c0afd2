"""The generator as a stage: reused when nothing changed, made anew when something it reads did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.settings import Settings, load_settings
from shared.errors import ConfigError, DataError
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from training.generative.trained import GENERATOR, TrainedGenerator
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.stages.store import StageStore

LOG = drifting_log(users=12, events=10, items=30)


def settings_for(folder: Path, **generative: object) -> Settings:
    small = {"codes": 4, "epochs": 1, "history": 5}
    return load_settings(
        work_dir=folder / "runs",
        embedder={"backend": "hashing", "model": "hashing-32"},
        training={"test_steps": 1, "threads": 1},
        generative=small | generative,
    )


def run_for(settings: Settings, folder: Path) -> TrainingRun:
    cache = EmbeddingCache(folder / "embeddings.sqlite")
    store = StageStore(settings.work_dir / "stages")
    return TrainingRun(settings, LOG, HashingEmbedder(32), cache, store, NullProgress())


async def test_a_second_run_reads_what_the_first_one_left(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first_run, second_run = (run_for(settings, tmp_path) for _ in range(2))
    first, second = await first_run.generative_model(), await second_run.generative_model()
    first_run.cache.close()
    second_run.cache.close()
    assert first_run.store.reused == []
    assert second_run.store.reused == ["generator-p5"]
    np.testing.assert_array_equal(first.tokens.codes, second.tokens.codes)
    assert first.epochs == second.epochs
    assert first.parameters == second.parameters > 10_000
    assert second.seconds_per_epoch > 0
    assert second.best == second.epochs[0]
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name])
    histories = [LOG.item[LOG.events_of(user)] for user in range(5)]
    one, two = (t.candidate_lists(histories, 8, exclude_seen=True) for t in (first, second))
    np.testing.assert_array_equal(one[0], two[0])
    assert not list((settings.work_dir / "stages" / ".unfinished").iterdir())


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"model": "pod"}, False),
        ({"tokens": "random"}, False),
        ({"codes": 5}, False),
        ({"size": "paper"}, False),
        ({"precision": "bfloat16"}, False),
        ({"history": 6}, False),
        ({}, True),
    ],
)
def test_the_key_follows_what_is_read(
    tmp_path: Path, changed: dict[str, object], same: bool
) -> None:
    usual, other = (run_for(settings_for(tmp_path, **c), tmp_path) for c in ({}, changed))
    assert (usual.generator.key == other.generator.key) is same
    usual.cache.close()
    other.cache.close()


def test_the_device_profile_is_no_part_of_the_key(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    tiny = settings.model_copy(update={"profile": load_settings(profile="tiny").profile})
    usual, other = (run_for(s, tmp_path) for s in (settings, tiny))
    assert usual.generator.key == other.generator.key
    usual.cache.close()
    other.cache.close()


async def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    run = run_for(settings_for(tmp_path, tokens="random"), tmp_path)
    run.store.root.mkdir(parents=True)
    (run.store.root / ".unfinished").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="cannot keep the unfinished generator"):
        await run.generative_model()
    run.cache.close()


@pytest.mark.slow
async def test_a_damaged_stage_is_refused(tmp_path: Path) -> None:
    run = run_for(settings_for(tmp_path, tokens="random"), tmp_path)
    trained = await run.generative_model()
    run.cache.close()
    folder = tmp_path / "kept"
    folder.mkdir()
    GENERATOR.save(trained, folder)
    assert isinstance(GENERATOR.load(folder), TrainedGenerator)
    values = folder / "values.json"
    values.write_text(values.read_text().replace('"d_model": 64', '"d_model": 32'))
    with pytest.raises(DataError, match="not a usable generator"):
        GENERATOR.load(folder)
