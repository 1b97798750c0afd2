"""SASRec and SURGE as published: ids alone, and trained until validation stops rising."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.baselines import trial
from tests.support.logs import drifting_log
from training.baselines.base import CLOUD_WINDOW
from training.baselines.published_encoder import PATIENCE, PublishedEncoder
from training.baselines.structure import CloudStructure, Structure


async def test_times_and_texts_do_not_reach_it_and_do_reach_the_equipped_one(
    tmp_path: Path,
) -> None:
    log = drifting_log()
    assert log.time is not None
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    catalogue = dataclasses.replace(log.catalogue, texts=log.catalogue.texts[::-1])
    retold = dataclasses.replace(log, time=log.time + 7919.0 * place, catalogue=catalogue)
    found = {}
    for name, one in (("log", log), ("retold", retold)):
        async with trial(tmp_path, one, epochs=1) as here:
            rows = here.world.requests.anchors.find(here.steps.user, here.steps.step)
            for kind, method in (("ids", PublishedEncoder("sasrec")), ("all", Structure("cloud"))):
                fitted = await method.fit(here.fitting)
                with torch.no_grad():
                    found[name, kind] = fitted.scores(here.world, rows, rows)
    assert torch.equal(found["log", "ids"], found["retold", "ids"])
    assert not torch.allclose(found["log", "all"], found["retold", "all"])


@pytest.mark.slow
async def test_it_is_trained_until_validation_stops_rising(tmp_path: Path) -> None:
    async with trial(tmp_path, drifting_log(), epochs=100) as here:
        fitted = await PublishedEncoder("sasrec", learning_rate=3e-2).fit(here.fitting)
    assert isinstance(fitted, CloudStructure)
    backbone = fitted.backbone
    assert backbone.model.copy is None
    assert backbone.model.config.window == CLOUD_WINDOW
    assert 1 <= backbone.best.epoch == len(backbone.history) - PATIENCE
