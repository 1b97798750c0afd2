"""A change costs exactly the stages whose results it may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_service.embedding.base import model_content
from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.settings import Settings, load_settings
from shared.interactions import InteractionLog
from shared.profile import PRESETS
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from tests.unit.training.test_pipeline import STAGES
from training.collaboration.stage import collaboration_stage
from training.refresh.stage import refresh_stage
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.stages import code
from training.stages.stage import Stage
from training.stages.store import StageStore
from training.train import train

LOG = drifting_log()
ALL = frozenset({
    *("items", "backbone", "abstracts", "projector", "student", "words", "fusion", "calibration"),
    *("gate", "refresh", "generator-p5", "collaboration"),
})  # fmt: skip
OF_VECTORS = ALL - {"items", "generator-p5", "abstracts"}
CALIBRATED = frozenset({"calibration", "gate", "refresh"})
WEIGHED = CALIBRATED | {"fusion"}
PROJECTED = WEIGHED | {"projector"}
READ = PROJECTED | {"student", "words"}
SEMANTIC = READ | {"abstracts"}


def settings_for(folder: Path, **sections: object) -> Settings:
    training = {
        "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 1, "test_steps": 2,
        "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
        "semantic_epochs": 2, "calibration_epochs": 2, "top_l": 5, "threads": 1,
    } | sections.pop("training", {})  # type: ignore[operator]  # fmt: skip
    return load_settings(
        **{
            "work_dir": folder / "runs",
            "cache": folder / "cache",
            "profile": {"window": 8, "local_candidates": 0},
            "embedder": {"backend": "hashing", "model": "hashing-32"},
            "cloud": {"candidates": 10},
            "training": training,
            **sections,
        }
    )


def keys_of(
    settings: Settings, log: InteractionLog = LOG, dim: int = 32, model: Path | None = None
) -> dict[str, str]:
    """Key of every stage of a run; the embedder says that its model lies in ``model``."""
    folder = settings.work_dir
    with EmbeddingCache(folder / "embeddings.sqlite") as cache:
        embedder = HashingEmbedder(dim)
        if model is not None:
            content = {"content": model_content(model)}
            embedder.identity = embedder.identity.model_copy(update=content)
        run = TrainingRun(settings, log, embedder, cache, StageStore(folder), NullProgress())
    stages: list[Stage] = [run.items, run.abstracts, run.structure, run.semantics, run.calibrator]
    stages += [run.opponent, run.fusion, refresh_stage(run, None)]  # type: ignore[arg-type]
    stages += [stage for stage in (run.student, run.words) if stage is not None]
    expected = ALL if settings.training.text_student else ALL - {"student", "words"}
    if settings.training.split == "user":
        stages += [run.generator, collaboration_stage(run)]
    else:  # a generator can only name items that it was trained with
        expected -= {"generator-p5", "collaboration"}
    keys = {stage.name: stage.key for stage in stages}
    assert keys.keys() == expected
    return keys


def changed(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {name for name in one if name in other and one[name] != other[name]}


def other_item(log: InteractionLog, back: int) -> InteractionLog:
    """With another item in one row: so many events before the first user's last one."""
    item = log.item.copy()
    item[log.user_start[1] - back] = (item[log.user_start[1] - back] + 1) % len(log.catalogue)
    return replace(log, item=item)


def other_word(log: InteractionLog, column: str) -> InteractionLog:
    """With another text or title of one item."""
    first, *rest = getattr(log.catalogue, column)
    return replace(log, catalogue=replace(log.catalogue, **{column: (first + " again", *rest)}))


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        # A training event is in histories, in abstracts and in sequences; in no item's text.
        (lambda log: other_item(log, 20), ALL - {"items"}),
        # The second test event: no stage may read it.
        (lambda log: other_item(log, 1), frozenset()),
        (lambda log: other_word(log, "texts"), OF_VECTORS | {"items", "generator-p5"}),
        (lambda log: other_word(log, "titles"), SEMANTIC),
        (lambda log: replace(log, time=log.time + 3600.0), ALL - {"items"}),
        (lambda log: replace(log, name="other", terms="other", notes=("other",)), frozenset()),
    ],
)
def test_a_changed_row_or_text_costs_what_reads_it(
    tmp_path: Path, change: Callable[[InteractionLog], InteractionLog], stages: frozenset[str]
) -> None:
    settings = settings_for(tmp_path)
    assert changed(keys_of(settings), keys_of(settings, change(LOG))) == stages


@pytest.mark.parametrize(
    ("sections", "stages"),
    [
        ({"training": {"gamma_max": 1.0}}, CALIBRATED),
        ({"training": {"top_l": 6}}, CALIBRATED),
        ({"training": {"age_rules": False}}, {"calibration", "refresh"}),
        ({"training": {"semantic_epochs": 1}}, PROJECTED),
        ({"training": {"semantic_vectors": "shared"}}, READ),
        ({"training": {"text_student": False}}, PROJECTED),
        ({"training": {"own_counts": False}}, WEIGHED),
        ({"training": {"abstracts_per_user": 5}}, SEMANTIC),
        ({"training": {"layers": 2}}, OF_VECTORS),
        ({"training": {"calibration_block": "users"}}, ALL - {"items"}),
        ({"training": {"backbone": "surge"}}, OF_VECTORS),
        ({"training": {"threads": 2}}, OF_VECTORS),
        ({"training": {"test_steps": 3}}, ALL - {"items"}),
        ({"training": {"item_start": "random"}}, OF_VECTORS),
        ({"seed": 1}, ALL - {"items", "abstracts"}),
        ({"abstract": {"level": "categories"}}, SEMANTIC),
        ({"embedder": {"backend": "hashing", "model": "hashing-32", "max_tokens": 64}}, ALL),
        ({"cloud": {"candidates": 9}}, WEIGHED | {"collaboration"}),
        ({"generative": {"codes": 5}}, {"generator-p5", "collaboration"}),
        ({"lsc4rec": {"adaptive_rates": (0.5,)}}, {"collaboration"}),
        ({"profile": {"window": 8, "local_candidates": 5}}, WEIGHED),
        # Where texts are embedded and how quickly decides nothing, nor does what a device sends.
        (
            {
                "embedder": {
                    "backend": "hashing", "model": "hashing-32", "batch_size": 3,
                    "deadline_s": 9.0, "url": "http://localhost:1",
                },
                "abstract": {"item_tokens": True},
                "lsc4rec": {"training_users": 9},
                "replay": {"users": 3},
                "paper": {"steps": 1},
            },
            set(),
        ),
    ],
)  # fmt: skip
def test_a_changed_option_costs_what_reads_it(
    tmp_path: Path, sections: dict[str, object], stages: set[str]
) -> None:
    before = keys_of(settings_for(tmp_path))
    assert changed(before, keys_of(settings_for(tmp_path, **sections))) == stages


def test_the_split_costs_all_that_reads_events(tmp_path: Path) -> None:
    """And where it cuts, only if it cuts everybody there."""
    by_user, early, late = (
        keys_of(settings_for(tmp_path, training=split))
        for split in ({}, {"split": "global", "split_at": 0.6}, {"split": "global"})
    )
    of_events = set(early) - {"items"}
    assert {name for name in early if early[name] != by_user[name]} == of_events
    assert changed(early, late) == of_events
    elsewhere = keys_of(settings_for(tmp_path, training={"split_at": 0.6}))
    assert changed(by_user, elsewhere) == set()


def test_what_follows_the_instant_costs_nothing(tmp_path: Path) -> None:
    """Nor does a later item's text, except where every text is embedded."""
    settings = settings_for(tmp_path, training={"split": "global"})
    before = keys_of(settings)
    assert changed(before, keys_of(settings, other_item(LOG, 1))) == set()
    assert changed(before, keys_of(settings, other_item(LOG, 28))) == set(before) - {"items"}


def test_another_embedder_costs_all(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert changed(keys_of(settings), keys_of(settings, dim=24)) == ALL


def test_models_of_one_name_are_told_apart_by_their_files(tmp_path: Path) -> None:
    keys = []
    for place, weights in (("a", b"one"), ("b", b"other"), ("c", b"one")):
        folder = tmp_path / place / "my-model"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(weights)
        keys.append(keys_of(settings_for(tmp_path), model=folder))
    assert changed(keys[0], keys[1]) == ALL
    assert keys[0] == keys[2]


def test_the_generator_reads_no_text_for_random_tokens(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, generative={"tokens": "random"})
    assert "generator-p5" not in changed(keys_of(settings), keys_of(settings, dim=24))


def test_profiles_share_the_generator(tmp_path: Path) -> None:
    small, tiny = (
        settings_for(tmp_path, profile=PRESETS[n].model_dump()) for n in ("small", "tiny")
    )
    assert "generator-p5" not in changed(keys_of(small), keys_of(tiny))


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    for package in ("training", "device_runtime", "shared", "cloud_service", "experiments"):
        ignored = shutil.ignore_patterns("*.pyc")
        shutil.copytree(code.ROOT / package, root / package, ignore=ignored)
    return root


@pytest.fixture
def sources(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code that keys are made over; to be left as it was."""
    monkeypatch.setattr(code, "ROOT", copied)
    return copied


@contextmanager
def added(line: str, *paths: Path) -> Iterator[None]:
    """Files with one more line each."""
    before = [path.read_text() for path in paths]
    for path, text in zip(paths, before, strict=True):
        path.write_text(f"{text}\n{line}\n")
    yield
    for path, text in zip(paths, before, strict=True):
        path.write_text(text)


@pytest.mark.parametrize(
    ("edited", "stages"),
    [
        ("training/calibration/fit.py", CALIBRATED),
        ("training/calibration/networks.py", CALIBRATED),
        ("training/stages/calibration.py", CALIBRATED),
        ("training/fusion/fit.py", WEIGHED),
        ("training/stages/fusion.py", WEIGHED),
        ("training/student/fit.py", READ),
        ("training/student/bags.py", READ),
        ("device_runtime/student/features.py", READ),
        ("training/semantic/projector.py", PROJECTED),
        ("training/semantic/own_terms.py", READ),
        ("training/backbone/fit.py", OF_VECTORS),
        ("training/encoders/base.py", OF_VECTORS),
        ("training/encoders/sasrec.py", OF_VECTORS),
        ("training/semantic/embedding_cache.py", ALL),
        ("training/stages/embedding.py", ALL),
        ("cloud_service/embedding/hashing.py", ALL),
        ("cloud_service/generation/beam.py", {"generator-p5", "collaboration"}),
        ("cloud_service/app.py", set()),
        ("device_runtime/abstract/sanitise.py", SEMANTIC),
        ("device_runtime/state/cues.py", READ),
        ("device_runtime/ranking/adaptation.py", {"collaboration"}),
        ("device_runtime/cloud/retry.py", set()),
        ("training/refresh/gain_fit.py", {"refresh"}),
        ("training/generative/fit.py", {"generator-p5", "collaboration"}),
        ("training/collaboration/reranking.py", {"collaboration"}),
        ("training/export/export.py", set()),
        ("training/backbone/checkpoint.py", set()),
        ("training/stages/content.py", set()),
        ("experiments/studies/frontier/drive.py", set()),
        # Contracts are everybody's: what a bundle's age rules mean, for one.
        ("shared/bundle.py", ALL),
        ("shared/split.py", ALL),
    ],
)
def test_an_edited_line_costs_the_stages_of_its_package(
    tmp_path: Path, sources: Path, edited: str, stages: set[str]
) -> None:
    settings = settings_for(tmp_path)
    before = keys_of(settings)
    with added("EDITED = 1", sources / edited):
        assert changed(before, keys_of(settings)) == stages
    assert keys_of(settings) == before


def test_a_comment_costs_nothing(tmp_path: Path, sources: Path) -> None:
    settings = settings_for(tmp_path)
    before = keys_of(settings)
    with added("# said again", *sources.rglob("*.py")):
        assert keys_of(settings) == before


async def test_what_a_change_costs_is_computed_again_and_the_rest_is_not(
    tmp_path: Path, sources: Path
) -> None:
    settings, embedder = settings_for(tmp_path), HashingEmbedder(32)
    first = await train(settings, LOG, embedder)
    stages = list(first.stage_seconds)
    assert stages == STAGES
    row = await train(settings, other_item(LOG, 20), embedder)
    assert list(row.reused) == ["items"]
    unread = await train(settings, other_item(LOG, 1), embedder)
    assert set(unread.reused) == set(stages) - {"words"}, "nothing that reads them was built"
    text = await train(settings, other_word(LOG, "texts"), embedder)
    assert list(text.reused) == ["abstracts"]
    option = await train(settings_for(tmp_path, training={"gamma_max": 1.0}), LOG, embedder)
    assert set(option.reused) == set(stages[:7])
    with added("EDITED = 1", sources / "training/semantic/projector.py"):
        line = await train(settings, LOG, embedder)
        again = await train(settings, LOG, embedder)
    assert set(line.reused) == {*stages[:4], "words"}
    assert line.figures == first.figures
    np.testing.assert_array_equal(line.popularity, first.popularity)
    assert set(again.reused) == set(stages) - {"words"}
    assert again.keys == line.keys, "the same model, whichever of its stages were asked for"
    assert again.keys["projector"] != first.keys["projector"]
