"""The stage: what it may read, when it is reused, what it leaves, and what it says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cloud_service.embedding.transformers import TransformersEmbedder
from scalrec.settings import Settings
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.logs import KINDS, drifting_log
from tests.support.text_models import tiny_model
from training.semantic.anchors import Anchors
from training.settings import LoraSettings, TextModelSettings, TrainingSettings
from training.splitting import instant_of
from training.tuning.pairs import judging_pairs, tuning_pairs
from training.tuning.stage import TunedModel, tuned_model, with_tuned_model

LORA = LoraSettings(
    abstracts=300, epochs=2, batch_size=16, learning_rate=2e-2, temperature=0.1,
    validation_requests=40,
)  # fmt: skip
WORDS = [
    *KINDS, *(k.lower() for k in KINDS), "Title", "Mostly", "mostly", "some", "and", "Lately",
    "lately", "Now", "now", ",", ".", ":", *(str(i) for i in range(40)),
]  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    model = tiny_model(tmp_path / "tiny", WORDS)
    return Settings(
        work_dir=tmp_path / "work",
        cache=tmp_path / "cache",
        embedder=TextModelSettings(
            backend="transformers", model=str(model), max_tokens=64, lora=LORA
        ),
        training=TrainingSettings(test_steps=5, validation_steps=2, calibration_steps=3),
    )


def small_log() -> InteractionLog:
    """Few items, so that what a user likes says a good deal about what comes next."""
    return drifting_log(items=8)


def write_nothing(anchors: Anchors) -> list[str]:
    return [""] * len(anchors)


def test_no_request_after_training_is_learned_from() -> None:
    log = small_log()
    split = split_log(log, test_steps=5, validation_steps=2, calibration_steps=3)
    training = tuning_pairs(log, split, 200, 10_000, write_nothing, seed=0)
    judging = judging_pairs(log, split, 10_000, write_nothing, seed=0)

    assert (training.anchors.tau < split.calibration_start[training.anchors.user]).all()
    user, tau = judging.anchors.user, judging.anchors.tau
    assert (tau >= split.validation_start[user]).all()
    assert (tau < split.test_start[user]).all()
    assert len(judging) == 24 * 2
    for pairs in (training, judging):
        place = log.user_start[pairs.anchors.user] + pairs.anchors.tau
        np.testing.assert_array_equal(pairs.target, log.item[place])
    few = tuning_pairs(log, split, 200, 7, write_nothing, seed=0)
    assert len(few) == 7


@pytest.mark.slow
async def test_other_test_events_leave_the_tuned_weights_as_they_were(settings: Settings) -> None:
    log = small_log()
    split = split_log(log, test_steps=5, validation_steps=2, calibration_steps=3)
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    late = place >= np.repeat(split.test_start, log.counts())
    other = np.where(late, (log.item + 1) % len(log.catalogue), log.item).astype(np.int32)
    one = await run(settings, log)
    two = await run(settings, dataclasses.replace(log, item=other))
    assert one.folder is not None
    assert two.folder is not None
    assert one.folder != two.folder  # another log, another name
    for name in ("model.safetensors", "config.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    assert [e.validation_loss for e in one.epochs] == [e.validation_loss for e in two.epochs]


@pytest.mark.slow
async def test_what_follows_a_global_split_leaves_the_tuned_weights_as_they_were(
    settings: Settings,
) -> None:
    """Other events after the instant, and other texts of items that appear after it."""
    at_once = settings.training.model_copy(update={"split": "global", "split_at": 0.7})
    settings = settings.model_copy(update={"training": at_once})
    log, known = small_log(), 6
    late = log.time >= instant_of(log, at_once)  # type: ignore[operator]
    log = dataclasses.replace(log, item=np.where(late, log.item, log.item % known).astype(np.int32))
    assert log.item.max() >= known
    texts = (*log.catalogue.texts[:known], *("Western Comedy",) * (len(log.catalogue) - known))
    other = dataclasses.replace(
        log,
        item=np.where(late, (log.item + 1) % len(log.catalogue), log.item).astype(np.int32),
        catalogue=dataclasses.replace(log.catalogue, texts=texts),
    )
    one, two = await run(settings, log), await run(settings, other)
    assert one.folder is not None
    assert two.folder is not None
    assert one.folder != two.folder
    model = "model.safetensors"
    assert (one.folder / model).read_bytes() == (two.folder / model).read_bytes()
    assert [e.validation_loss for e in one.epochs] == [e.validation_loss for e in two.epochs]


async def test_the_stage_is_reused_and_its_model_is_served(settings: Settings) -> None:
    log = small_log()
    tuned = await run(settings, log)
    assert tuned.folder is not None
    assert tuned.folder.name.startswith("tiny-lora-")
    assert not list((settings.work_dir / "stages" / ".unfinished").glob("*"))
    stamp = (tuned.folder / "model.safetensors").stat().st_mtime_ns

    found = await with_tuned_model(settings, log, NullProgress())

    assert found.embedder.model == str(tuned.folder)
    assert found.embedder.lora is None
    assert (tuned.folder / "model.safetensors").stat().st_mtime_ns == stamp
    source = Path(settings.embedder.model)
    vectors = []
    for folder in (tuned.folder, source):
        embedder = TransformersEmbedder(folder, model=folder.name, pooling="MEAN")
        try:
            vectors.append(await embedder.embed(["Mostly drama", "some western"]))
        finally:
            await embedder.aclose()
    assert vectors[0].shape == vectors[1].shape
    assert not np.allclose(vectors[0], vectors[1], atol=1e-2)


@pytest.mark.slow
async def test_a_damaged_model_is_tuned_anew(settings: Settings) -> None:
    log = small_log()
    tuned = await run(settings, log)
    assert tuned.folder is not None
    weights = tuned.folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    assert (await run(settings, log)).folder == tuned.folder
    assert weights.read_bytes() == whole


async def test_where_it_does_not_help_the_model_stays(settings: Settings) -> None:
    # Steps too small to change the ranking of anything.
    lora = LORA.model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    embedder = settings.embedder.model_copy(update={"lora": lora})
    settings = settings.model_copy(update={"embedder": embedder})
    tuned = await tuned_model(settings, small_log(), lora, progress=NullProgress())
    assert tuned.folder is None
    assert len(tuned.epochs) == 2
    found = await with_tuned_model(settings, small_log(), NullProgress())
    assert found.embedder == settings.embedder.model_copy(update={"lora": None})


async def test_settings_without_it_are_left_alone() -> None:
    settings = Settings()
    assert await with_tuned_model(settings, small_log(), NullProgress()) is settings


async def test_a_back_end_without_a_model_is_refused(settings: Settings) -> None:
    embedder = TextModelSettings(backend="hashing", model="hashing-16", lora=LORA)
    with pytest.raises(ConfigError, match=r"embedder\.lora"):
        await with_tuned_model(
            settings.model_copy(update={"embedder": embedder}), small_log(), NullProgress()
        )


async def run(settings: Settings, log: InteractionLog) -> TunedModel:
    return await tuned_model(settings, log, LORA, progress=NullProgress())
