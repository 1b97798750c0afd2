"""What a calibrator learns from under cross-fitting comes from models that never met the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from tests.unit.training.test_leakage import changed_from, with_sessions_and_queries
from tests.unit.training.test_pipeline import settings_for
from training.calibration.lessons import Material
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.splitting import split_of
from training.stages.store import StageStore
from training.steps import training_steps
from training.user_folds import FOLDS, user_folds

LOG = with_sessions_and_queries(drifting_log(users=16, events=24))


def run_of(folder: Path, log: InteractionLog, cache: EmbeddingCache) -> TrainingRun:
    settings = settings_for(folder, calibration_block="users", restart_epochs=0)
    store = StageStore(folder)
    return TrainingRun(settings, log, HashingEmbedder(32), cache, store, NullProgress())


async def learned_of(folder: Path, log: InteractionLog) -> tuple[TrainingRun, list[Material]]:
    with EmbeddingCache(folder / "embeddings.sqlite") as cache:
        run = run_of(folder, log, cache)
        fusion = await run.result(run.fusion)
        # As if validation had found a use for words, which so little training may well not.
        fusion = fusion.model_copy(update={"text_weight": 0.5})
        found = await run.unmet(fusion)
        return run, found


def test_every_user_is_kept_from_one_set_of_models_and_trains_the_others(tmp_path: Path) -> None:
    options = settings_for(tmp_path, calibration_block="users").training
    split = split_of(LOG, options, calibration=True)
    assert (split.calibration_start == split.validation_start).all()  # no step is lost
    steps = training_steps(LOG, split, per_user=6)
    folds = user_folds(steps)
    asked = [set(fold.asked.user.tolist()) for fold in folds]
    assert set.union(*asked) == set(range(16))
    assert not set.intersection(*asked)
    assert abs(len(asked[0]) - len(asked[1])) <= 1
    for fold, users in zip(folds, asked, strict=True):
        others = fold.steps
        for seen in (others.anchors.user, others.trained_on.user, others.validation.user):
            assert not users & set(seen.tolist())
        assert not np.diff(others.events.user_start)[list(users)].any()
        assert others.sessions is not None
        assert len(others.sessions) == len(others.events.item)
        np.testing.assert_array_equal(
            others.trained_on.user, np.setdiff1d(steps.trained_on.user, list(users)).repeat(6)
        )
    assert sum(len(fold.asked) for fold in folds) == len(steps.trained_on)
    with pytest.raises(DataError, match="calibration_block=steps"):
        user_folds(
            training_steps(LOG, split, per_user=6).__class__(
                **{
                    **vars(steps),
                    "trained_on": folds[0].asked,
                }
            )
        )


async def test_a_users_own_events_reach_nothing_that_scores_them(tmp_path: Path) -> None:
    """Everything that users of one fold did is another item, moment and query: the models that
    score their steps are the same, and those of the other fold are not."""
    run, ours = await learned_of(tmp_path / "ours", LOG)
    assert len(ours) == FOLDS
    asked = [np.unique(one.requests.anchors.user) for one in ours]
    start = LOG.counts().astype(np.int64)
    start[asked[0]] = 0
    changed, theirs = await learned_of(tmp_path / "theirs", changed_from(LOG, start))
    same, other = (
        [torch.equal(a, b) for a, b in zip(one, two, strict=True)]
        for one, two in zip(
            [await models(run, fold) for fold in range(FOLDS)],
            [await models(changed, fold) for fold in range(FOLDS)],
            strict=True,
        )
    )
    assert all(same)
    assert not any(other)
    # Of users whose events are as they were nothing that is learned from depends on a poisoned
    # model of their own: each row is what the untouched half says of the other.
    one, two = ours[1].requests, theirs[1].requests
    assert torch.equal(one.target, two.target)
    assert not torch.equal(one.e_str, two.e_str)
    assert ours[0].labelled is None
    assert one.own is not None
    assert one.own.text is not None
    assert len(one.own.text) == len(one)


async def models(run: TrainingRun, fold: int) -> list[torch.Tensor]:
    """Weights of encoder, items, f_sem, semantic vectors and words of a fold."""
    stages = run.folds[fold]
    backbone, projector = await run.result(stages.structure), await run.result(stages.semantics)
    assert projector.vectors is not None
    assert stages.words is not None
    student = await run.result(stages.words.upstream[0])
    flat = [
        torch.cat([weight.flatten() for weight in module.state_dict().values()])
        for module in (backbone.model, backbone.table, projector.projector)
    ]
    return [*flat, projector.vectors, torch.from_numpy(student.weights.unpack())]


async def test_a_run_learns_from_folds_and_keeps_their_stages_apart(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "embeddings.sqlite") as cache:
        run = run_of(tmp_path, LOG, cache)
        trained = await run.all()
        held = run.steps.block()
        assert held is None
        assert trained.keys["backbone"] == run.structure.key
        assert {f"fold{n}-backbone" for n in range(FOLDS)} <= trained.keys.keys()
        again = run_of(tmp_path, LOG, cache)
        await again.all()
        assert "calibration" in again.store.reused
