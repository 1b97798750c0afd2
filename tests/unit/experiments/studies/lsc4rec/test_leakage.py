"""No request that cooperative training or a threshold reads was a training target of any model."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.hashing import HashingEmbedder
from experiments.studies.lsc4rec.device_model import din_stage
from experiments.studies.lsc4rec.lists import Listed, candidate_lists
from scalrec.settings import Settings, load_settings
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from training.collaboration.asked import Asked
from training.learning import Epoch
from training.run import opened_run

LOG = drifting_log(users=16, events=9, returns=False, has_time=False)
Losses = tuple[list[float | None], ...]


def settings_for(folder: Path, calibration_steps: int = 1) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        log={"repeat_policy": "exclude"},
        profile={"window": 6, "local_candidates": 0},
        training={
            "backbone": "gru4rec", "dim": 8, "epochs": 2, "restart_epochs": 0, "test_steps": 1,
            "validation_steps": 1, "calibration_steps": calibration_steps, "threads": 1,
            "return_mechanism": False,
        },
        generative={"epochs": 2, "codes": 4},
        lsc4rec={"lists": (3, 6), "adaptive_rates": (0.1,)},
        paper={"steps": 1},
    )  # fmt: skip


def trained(folder: Path, log: InteractionLog) -> tuple[Losses, Listed]:
    """Losses of every pass of generator, encoder and DIN over their targets, and the requests."""

    async def train() -> tuple[Losses, Listed]:
        async with opened_run(
            settings_for(folder), log, HashingEmbedder(32), NullProgress()
        ) as run:
            generator, listed, _ = await candidate_lists(run)
            histories = (generator.epochs, (await run.backbone()).history)
            din = (await run.result(din_stage(run))).history
        return tuple(losses(history) for history in (*histories, din)), listed

    return asyncio.run(train())


def losses(history: tuple[Epoch, ...]) -> list[float | None]:
    assert len(history) >= 2
    return [epoch.train_loss for epoch in history]


def with_other_targets(asked: Asked) -> InteractionLog:
    """The log where each request's next item is one that its user never had."""
    item: NDArray[np.int32] = LOG.item.copy()
    for user, row in zip(asked.user.tolist(), asked.row.tolist(), strict=True):
        had = item[LOG.user_start[user] : LOG.user_start[user + 1]]
        item[row] = np.setdiff1d(np.arange(len(LOG.catalogue)), had)[-1]
    assert (item != LOG.item).sum() == len(asked) > 0
    return replace(LOG, item=item)


def test_no_model_learns_a_target_that_cooperative_training_or_thresholds_read(
    tmp_path: Path,
) -> None:
    before, listed = trained(tmp_path / "plain", LOG)
    for name in ("calibration", "validation", "test"):
        after, _ = trained(tmp_path / name, with_other_targets(getattr(listed, name)))
        assert after == before, name
    # The paper's thresholds do read such targets, and the comparison would notice.
    after, _ = trained(tmp_path / "trained", with_other_targets(listed.trained_on))
    for ours, theirs in zip(before, after, strict=True):
        assert ours != theirs


def test_without_a_calibration_step_the_study_says_what_to_set(tmp_path: Path) -> None:
    async def lists() -> None:
        settings = settings_for(tmp_path, calibration_steps=0)
        async with opened_run(settings, LOG, HashingEmbedder(32), NullProgress()) as run:
            await candidate_lists(run)

    with pytest.raises(ConfigError, match=r"training\.calibration_steps \(now 0\) to 1 or more"):
        asyncio.run(lists())
