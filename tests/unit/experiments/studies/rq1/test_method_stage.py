"""A method's ranks in a cell are kept, and read again only while nothing they rest on changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.studies.rq1.method_stage import MethodRanks, method_stage
from shared.progress import NullProgress
from tests.support.baselines import GAPS, Trial, trial
from tests.support.logs import drifting_log
from training.baselines.base import Baseline
from training.baselines.lightgcn import LightGCN
from training.baselines.registry import BASELINES
from training.stages.stage import Stage
from training.stages.store import StageStore


def stage(here: Trial, method: Baseline) -> Stage[MethodRanks]:
    fitting = here.fitting
    return method_stage(fitting.run, fitting, here.world, here.steps, "lightgcn", method)


async def test_ranks_and_costs_are_read_as_they_were_found(tmp_path: Path) -> None:
    async with trial(tmp_path, drifting_log()) as here:
        asked = stage(here, LightGCN(epochs=1))
        first = await StageStore(tmp_path / "kept").result(asked, NullProgress())
        again = StageStore(tmp_path / "kept")
        second = await again.result(asked, NullProgress())
    assert again.reused == ["method-lightgcn"]
    assert first.costs == second.costs
    assert first.costs["parameters"] > 0
    for one, other in ((first.full, second.full), (first.listed, second.listed)):
        assert list(one) == list(other) == list(GAPS)
        for gap in GAPS:
            assert len(one[gap]) == len(here.steps.user)
            np.testing.assert_array_equal(one[gap], other[gap])
    assert any((first.full[gap] != first.listed[gap]).any() for gap in GAPS)


async def test_other_options_bounds_and_methods_have_other_keys(tmp_path: Path) -> None:
    async with trial(tmp_path, drifting_log()) as here:
        bounded = Trial(replace(here.fitting, most_epochs=1), here.world, here.steps)
        free = Trial(replace(here.fitting, most_epochs=None), here.world, here.steps)
        asked = [
            stage(free, LightGCN()),
            stage(bounded, LightGCN()),
            stage(free, LightGCN(epochs=3)),
            stage(free, BASELINES["prefer"]),
        ]
        assert len({one.key for one in asked}) == len(asked)
        assert stage(free, LightGCN()).key == asked[0].key


async def test_mending_one_method_leaves_the_others(tmp_path: Path) -> None:
    async with trial(tmp_path, drifting_log()) as here:
        codes = {name: stage(here, method).code for name, method in BASELINES.items()}
    assert "training.baselines.lightgcn" in codes["lightgcn"]
    touched = {name for name, code in codes.items() if "training.baselines.duet.method" in code}
    assert touched == {"duet", "duet-fresh"}
