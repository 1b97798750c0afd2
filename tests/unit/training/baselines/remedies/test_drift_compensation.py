"""Drift compensation by hand, and one beta for each group of ages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.baselines.remedies.drift_compensation import (
    Compensation,
    drifts,
    fit_compensation,
    groups_of,
)
from training.calibration.pairs import Pairs
from training.semantic.requests import Requests


@pytest.mark.parametrize("window", [3, 8, 100])
def test_drift_is_what_was_met_since_minus_what_was_met_before(
    requests_of_log: Requests, window: int
) -> None:
    requests, anchors = requests_of_log, requests_of_log.anchors
    count = len(anchors)
    fresh, stale = (part.ravel() for part in np.indices((count, count)))
    same = (anchors.user[fresh] == anchors.user[stale]) & (anchors.tau[fresh] >= anchors.tau[stale])
    pairs = Pairs(fresh[same], stale[same])
    found = drifts(requests, pairs, window)
    vectors = requests.table.vectors.detach().double()
    items = torch.from_numpy(requests.events.item.astype(np.int64))
    still = 0
    for place in range(0, len(pairs), 7):
        user = anchors.user[pairs.fresh[place]]
        own = items[requests.events.user_start[user] : requests.events.user_start[user + 1]]
        now, then = anchors.tau[pairs.fresh[place]], anchors.tau[pairs.stale[place]]
        if now == then:
            still += 1
            assert (found[place] == 0).all()
            continue
        since = vectors[own[max(then, now - window) : now]].mean(0)
        before = vectors[own[max(0, then - window) : then]].mean(0)
        torch.testing.assert_close(found[place].double(), since - before, atol=1e-6, rtol=0)
    assert still > 0


def test_groups_begin_at_their_edges() -> None:
    ages = np.array([0, 1, 2, 3, 7, 8, 50])
    assert groups_of(ages, (3, 8)).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert groups_of(ages, ()).tolist() == [0] * 7


def test_each_group_finds_the_beta_that_made_it() -> None:
    rng = np.random.default_rng(0)
    ages = rng.integers(0, 21, 300)
    stale, drift = (torch.from_numpy(rng.standard_normal((300, 4))).float() for _ in range(2))
    truth = Compensation((3, 8), (0.0, 0.5, 1.5))
    fresh = truth.of(stale, drift, ages)
    asked = []

    def score(embedding: torch.Tensor) -> np.ndarray:
        asked.append(embedding)
        return -(embedding - fresh).square().sum(1).double().numpy()

    found = fit_compensation(stale, drift, ages, score, betas=(1.5, 0.5, 0.0, 1.0))
    assert found == truth
    assert len(asked) == 4  # each beta is ranked with once, whatever the groups
    torch.testing.assert_close(found.of(stale, drift, ages), fresh)
    old = ages >= 8
    torch.testing.assert_close(fresh[old], (stale + 1.5 * drift)[old])
    torch.testing.assert_close(fresh[ages < 3], stale[ages < 3], rtol=0, atol=0)


def test_without_reason_or_pairs_nothing_moves() -> None:
    stale = drift = torch.ones(3, 2)
    found = fit_compensation(stale, drift, np.array([4, 5, 6]), lambda e: np.zeros(len(e)))
    assert found.betas == (0.0, 0.0, 0.0)
    none = fit_compensation(stale[:0], drift[:0], np.zeros(0, np.int64), lambda e: np.zeros(len(e)))
    assert none.betas == (0.0, 0.0, 0.0)
