"""LSC4Rec's row: the list of tau, the device's scores of t, and equation 10 on both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.split import stale_tau
from tests.support.baselines import Trial, trial
from tests.support.logs import drifting_log
from training.backbone.evaluate import encode_requests, structural_scores
from training.baselines.base import World
from training.baselines.language.remembered import RememberedStates, histories
from training.baselines.lsc4rec import COOPERATIVE, OUTSIDE, FittedLsc4rec, Lsc4recBaseline
from training.calibration.pairs import pairs_at_gap
from training.collaboration.asked import requests_of_calibration
from training.collaboration.reranking import INDEPENDENT
from training.collaboration.srm import EncoderSrm

N, GAP = 6, 5
LOG = drifting_log(returns=False, items=60)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, FittedLsc4rec]:
    async def fit(folder: Path) -> tuple[Trial, FittedLsc4rec]:
        async with trial(folder, LOG, policy="exclude") as tried:
            return tried, await Lsc4recBaseline(candidates=N).fit(tried.fitting)

    return asyncio.run(fit(tmp_path_factory.mktemp("lsc4rec")))


def between_0_and_1(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
    return (scores - low) / (high - low)


@pytest.mark.parametrize("gap", [0, GAP])
def test_listed_items_score_by_equation_10_and_all_others_below(
    fitted: tuple[Trial, FittedLsc4rec], gap: int
) -> None:
    tried, whole = fitted
    # Without adaptive re-training, which the device's own code does and its tests hold.
    model = replace(whole, choice=replace(whole.choice, best=COOPERATIVE))
    world, pairs = tried.world, pairs_at_gap(tried.world.requests.anchors, tried.steps, gap)
    with torch.no_grad():
        scores = model.scores(world, pairs.fresh, pairs.stale).numpy()
        items = model.listed(world, pairs.stale, N).numpy()
        srm = model.srms[COOPERATIVE]
        assert isinstance(srm, EncoderSrm)
        windows = world.windows(pairs.fresh, srm.window)
        e_str, copies = encode_requests(srm.model, srm.table, windows)
        own = structural_scores(e_str, copies, windows.item, srm.table).numpy()
    known = histories(world, pairs.stale)
    _, log_p = model.generator.candidate_lists(known, N, exclude_seen=True)
    alpha = model.choice.alphas[COOPERATIVE, (N, gap)]
    own_of_list = np.take_along_axis(own, items, axis=1).astype(np.float64)
    wanted = alpha * between_0_and_1(log_p.astype(np.float64))
    wanted += (1 - alpha) * between_0_and_1(own_of_list)
    np.testing.assert_allclose(np.take_along_axis(scores, items, axis=1), wanted, atol=1e-4)
    np.put_along_axis(scores, items, OUTSIDE, axis=1)
    assert (scores == OUTSIDE).all()


def test_the_whole_method_is_cooperative_and_adaptive(
    fitted: tuple[Trial, FittedLsc4rec],
) -> None:
    tried, whole = fitted
    assert (whole.choice.best, whole.choice.base) == ("both", COOPERATIVE)
    one, other = (whole.srms[name].table.vectors for name in (INDEPENDENT, COOPERATIVE))
    assert not torch.equal(one, other)
    pairs = pairs_at_gap(tried.world.requests.anchors, tried.steps, GAP)
    still = replace(whole, choice=replace(whole.choice, best=COOPERATIVE))
    with torch.no_grad():
        moved = whole.scores(tried.world, pairs.fresh, pairs.stale)
        assert not torch.equal(moved, still.scores(tried.world, pairs.fresh, pairs.stale))


def test_the_srm_is_taught_on_requests_that_no_model_was_trained_on(
    fitted: tuple[Trial, FittedLsc4rec],
) -> None:
    tried, _ = fitted
    fitting = tried.fitting
    split = fitting.run.split
    asked = requests_of_calibration(fitting.events, split, fitting.run.settings.lsc4rec)
    assert len(asked)
    assert (asked.step >= split.calibration_start[asked.user]).all()
    assert (asked.step < split.validation_start[asked.user]).all()


def test_rows_are_computed_once_in_any_order(fitted: tuple[Trial, FittedLsc4rec]) -> None:
    world = fitted[0].world
    asked: list[list[int]] = []

    def squares(_: World, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64]]:
        asked.append(rows.tolist())
        return (rows**2,)

    remembered = RememberedStates(squares)
    for rows in ([4, 2, 4], [1, 2, 7]):
        [found] = remembered.of(world, np.array(rows))
        np.testing.assert_array_equal(found, np.array(rows) ** 2)
    assert asked == [[2, 4], [1, 7]]
    remembered.of(replace(world), np.array([2]))
    assert asked[-1] == [2]  # of another world nothing is known


def test_a_history_is_what_its_row_knows(fitted: tuple[Trial, FittedLsc4rec]) -> None:
    tried, _ = fitted
    pairs = pairs_at_gap(tried.world.requests.anchors, tried.steps, GAP)
    known = histories(tried.world, pairs.stale)
    for place, (user, step) in enumerate(zip(tried.steps.user, tried.steps.step, strict=True)):
        start = LOG.user_start[user]
        wanted = LOG.item[start : start + int(stale_tau(np.array([step]), GAP)[0])]
        np.testing.assert_array_equal(known[place], wanted)
