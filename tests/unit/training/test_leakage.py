"""No target, later event or test statistic reaches anything that training reads or fits.

Two logs that differ in their test events alone have to look alike to training.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.abstract.writer import TemplateAbstract
from scalrec.settings import Settings
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.progress import NullProgress
from shared.split import Split, split_log
from tests.support.logs import drifting_log
from tests.unit.training.test_pipeline import settings_for, weights
from training.backbone.batches import events_of
from training.data.registry import load_log
from training.options import student_options
from training.run import TrainingRun
from training.semantic.anchors import (
    Anchors,
    merge,
    stale_anchors,
    training_anchors,
    write_abstracts,
)
from training.semantic.embedding_cache import EmbeddingCache
from training.settings import LogSettings
from training.splitting import split_of
from training.stages.store import StageStore
from training.train import train

GAPS = (0, 5, 10, 20)
FORMS = [AbstractForm(), AbstractForm(level="coarse"), AbstractForm(context=False)]
REAL_LOGS = {
    "foursquare_nyc_ge10.tsv.gz": 10,
    "redial_partial.jsonl.gz": 8,
    "beauty.txt.gz": 1,
}


def with_sessions_and_queries(log: InteractionLog) -> InteractionLog:
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    query = tuple(f"something like {log.catalogue.titles[i]}" for i in np.roll(log.item, 1))
    return dataclasses.replace(log, session=place // 4, query=query)


def changed_from(log: InteractionLog, start: np.ndarray, seed: int = 0) -> InteractionLog:
    """``log`` with other items, times, sessions and queries at and after event ``start`` [U]."""
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    late = place >= np.repeat(start, log.counts())
    other = np.random.default_rng(seed).integers(1, len(log.catalogue), len(log))
    changes: dict[str, object] = {
        # Another item for certain.
        "item": np.where(late, (log.item + other) % len(log.catalogue), log.item).astype(np.int32)
    }
    if log.time is not None:
        changes["time"] = np.where(late, log.time + 5.5e5, log.time)
    if log.session is not None:
        changes["session"] = np.where(late, log.session + 100, log.session)
    if log.query is not None:
        changes["query"] = tuple(
            "other words" if is_late else said
            for is_late, said in zip(late.tolist(), log.query, strict=True)
        )
    return dataclasses.replace(log, **changes)  # type: ignore[arg-type]


def points_of(split: Split, per_user: int) -> Anchors:
    """All points whose abstracts training or validation reads."""
    held = (stale_anchors(steps, GAPS) for steps in (split.calibration(), split.validation()))
    return merge(training_anchors(split, per_user), *held)


def assert_training_reads_the_same(
    log: InteractionLog, changed: InteractionLog, split: Split, points: Anchors
) -> None:
    assert not np.array_equal(log.item, changed.item)
    assert changed.catalogue == log.catalogue
    kept, other = (events_of(one).keep_first(split.test_start) for one in (log, changed))
    for column in ("item", "local_hour", "user_start", "time_s"):
        np.testing.assert_array_equal(getattr(kept, column), getattr(other, column))
    for form in FORMS:
        texts, others = (
            write_abstracts(one, points, TemplateAbstract(one.catalogue, form), DeviceProfile())
            for one in (log, changed)
        )
        assert texts == others


def test_an_event_changes_only_the_abstracts_after_it() -> None:
    log = with_sessions_and_queries(drifting_log(users=6, events=30))
    for start in (5, 12, 29):
        changed = changed_from(log, np.full(6, start))
        taus = np.arange(2, 30)
        points = Anchors(np.repeat(np.arange(6), len(taus)), np.tile(taus, 6))
        writer = TemplateAbstract(log.catalogue)
        texts, others = (
            np.array(write_abstracts(one, points, writer, DeviceProfile())).reshape(6, -1)
            for one in (log, changed)
        )
        same = (texts == others).all(axis=0)
        # At tau = start the request's own moment and query are known, its item is not.
        np.testing.assert_array_equal(same, taus < start)
    items_alone = dataclasses.replace(log, item=changed_from(log, np.full(6, 12)).item)
    texts, others = (
        np.array(write_abstracts(one, points, writer, DeviceProfile())).reshape(6, -1)
        for one in (log, items_alone)
    )
    np.testing.assert_array_equal((texts == others).all(axis=0), taus <= 12)


async def test_test_events_change_no_weight_no_normaliser_and_no_prior(tmp_path: Path) -> None:
    """Every number training fits: encoder, item table, projector and its means, semantic vectors,
    text student, count term, estimator and its means, calibrator, fusion weights, popularity and
    all validation figures."""
    log = with_sessions_and_queries(drifting_log())
    settings = settings_for(tmp_path / "one")
    options = settings.training
    split = split_log(log, test_steps=options.test_steps, validation_steps=options.validation_steps)
    changed = changed_from(log, split.test_start)
    assert_training_reads_the_same(log, changed, split, points_of(split, 6))
    one = await train(settings, log, HashingEmbedder(32))
    two = await train(settings_for(tmp_path / "two"), changed, HashingEmbedder(32))
    assert two.reused == ()
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    assert any("mean" in name for name in a)  # the normalisers are among them
    assert {"semantic.vectors", "student.codes", "student.out_scale"} <= a.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    np.testing.assert_array_equal(one.popularity, two.popularity)
    assert one.figures == two.figures
    assert one.fusion == two.fusion  # the weights of counts, of words and of semantics
    for chosen in ("gamma_max", "helped", "rules", "discount", "gaps"):
        assert getattr(one.calibration, chosen) == getattr(two.calibration, chosen), chosen


async def test_a_training_event_does_change_them(tmp_path: Path) -> None:
    """The comparison above would see a leak."""
    log = drifting_log()
    one = await train(settings_for(tmp_path / "one"), log, HashingEmbedder(32))
    changed = changed_from(log, one.split.validation_start - 1)
    two = await train(settings_for(tmp_path / "two"), changed, HashingEmbedder(32))
    a, b = weights(one), weights(two)
    assert len([name for name in a if not torch.equal(a[name], b[name])]) > len(a) // 2
    assert not np.array_equal(one.popularity, two.popularity)


async def models_of(folder: Path, log: InteractionLog) -> dict[str, torch.Tensor]:
    """Weights of what is trained before anything is chosen: by part, one epoch of each."""
    settings = settings_for(folder, epochs=1, restart_epochs=0, semantic_epochs=1)
    with EmbeddingCache(folder / "embeddings.sqlite") as cache:
        store, embedder = StageStore(folder), HashingEmbedder(32)
        run = TrainingRun(settings, log, embedder, cache, store, NullProgress())
        assert run.student is not None
        backbone, student = await run.backbone(), await run.result(run.student)
        projector = await run.result(run.semantics)
    assert projector.vectors is not None
    modules = {"encoder": backbone.model, "table": backbone.table, "f_sem": projector.projector}
    found = {f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()}
    words = torch.from_numpy(student.weights.unpack() * student.weights.out_scale)
    return found | {"v'": projector.vectors, "words": words}


async def test_targets_kept_from_models_train_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the calibration block, of validation and of the test: other items, moments and
    queries there, of everybody. Which epoch is kept is chosen on validation, so there is one."""
    monkeypatch.setattr(
        "training.run.student_options",
        lambda *args: student_options(*args).model_copy(update={"epochs": 1}),
    )
    log = with_sessions_and_queries(drifting_log())
    options = settings_for(tmp_path).training
    split = split_of(log, options, calibration=True)
    assert (split.calibration_start < split.validation_start).all()
    ours = await models_of(tmp_path / "ours", log)
    later = await models_of(tmp_path / "later", changed_from(log, split.calibration_start))
    assert [name for name in ours if not torch.equal(ours[name], later[name])] == []
    # The last target that is trained on does reach each of them: the comparison would see a leak.
    before = await models_of(tmp_path / "before", changed_from(log, split.calibration_start - 1))
    differ = {name.partition(".")[0] for name in ours if not torch.equal(ours[name], before[name])}
    assert differ == {"encoder", "table", "f_sem", "v'", "words"}


@pytest.mark.data
@pytest.mark.parametrize("name", REAL_LOGS)
def test_real_test_events_change_nothing_that_training_reads(name: str, tmp_path: Path) -> None:
    if "SCALREC_DATA" not in os.environ:
        pytest.skip("SCALREC_DATA does not name a folder with the real logs")
    path = Path(os.environ["SCALREC_DATA"]) / name
    log = load_log(LogSettings(path=path), cache=Settings().cache)
    split = split_log(log, test_steps=REAL_LOGS[name], calibration_steps=2)
    points = points_of(split, 2)
    some = np.random.default_rng(0).permutation(len(points))[:500]
    sample = Anchors(*(column[np.sort(some)] for column in (points.user, points.tau)))
    assert (points.tau < split.test_start[points.user]).all()
    assert_training_reads_the_same(log, changed_from(log, split.test_start), split, sample)
