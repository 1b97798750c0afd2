from __future__ import annotations

import numpy as np
import pytest
import torch

from shared.metrics import ndcg, ranks_of
from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.evaluate import target_ranks
from training.backbone.item_table import ItemParameters
from training.calibration.pairs import block_pairs, pairs_at_gap, recent_means
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import merge, stale_anchors, training_anchors
from training.semantic.held_out import MAX_ROWS, HeldOut
from training.semantic.requests import Requests, make_requests

WINDOW, DIM = 8, 16
LOG = drifting_log(users=10, events=40)
SPLIT = split_log(LOG, test_steps=3, calibration_steps=4)
ANCHORS = merge(training_anchors(SPLIT, 12), stale_anchors(SPLIT.validation(), (0, 5, 10, 20)))
EVENTS = events_of(LOG).keep_first(SPLIT.test_start)
ROWS = pairs_at_gap(ANCHORS, SPLIT.validation(), 0).fresh


@pytest.fixture(scope="module")
def model() -> SASRec:
    torch.manual_seed(0)
    return SASRec(SASRecConfig(dim=DIM, layers=1, window=WINDOW)).eval()


@pytest.fixture(scope="module")
def requests(model: SASRec) -> Requests:
    torch.manual_seed(1)
    table = ItemParameters(len(LOG.catalogue), DIM)
    torch.nn.init.normal_(table.bias)
    return make_requests(model, table, EVENTS, ANCHORS)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_structure_alone_ranks_as_the_backbone_does(
    model: SASRec, requests: Requests, exclude_seen: bool
) -> None:
    held = HeldOut(requests, ROWS, exclude_seen=exclude_seen)
    target = EVENTS.user_start[ANCHORS.user[held.rows]] + ANCHORS.tau[held.rows]
    ranks = target_ranks(model, requests.table, EVENTS, target, exclude_seen=exclude_seen)
    # With exclude_seen, targets that may not come are left out.
    assert np.isfinite(ranks["expected"]).all()
    e_sem = torch.randn(len(held.rows), DIM)
    np.testing.assert_array_equal(held.ndcg10(e_sem, 0.0), ndcg(ranks, 10))
    assert not np.array_equal(held.ndcg10(e_sem, 5.0), ndcg(ranks, 10))


def test_semantics_alone_and_both(requests: Requests) -> None:
    held = HeldOut(requests, ROWS, exclude_seen=False)
    index = torch.from_numpy(held.rows)
    toward = requests.table.vectors.detach()[requests.target[index]] * 100
    assert held.mean(toward, 1.0, own=False) > held.mean(toward, 0.0)
    assert held.mean(torch.zeros_like(toward), 1.0) == held.mean(toward, 0.0)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_a_pool_is_ranked_and_nothing_else(requests: Requests, exclude_seen: bool) -> None:
    rng = np.random.default_rng(3)
    among = torch.from_numpy(rng.random((len(requests), len(LOG.catalogue))) < 0.4)
    held = HeldOut(requests, ROWS, exclude_seen=exclude_seen, pool=lambda rows, _: among[rows])
    e_sem = torch.randn(len(held.rows), DIM)
    index = torch.from_numpy(held.rows)
    scores = requests.structural(index) + 0.7 * e_sem @ requests.semantics.T
    allowed = among[index].clone()
    if exclude_seen:
        allowed[requests.seen(index)] = False
    ranks = ranks_of(scores.numpy(), requests.target[index].numpy(), allowed.numpy())
    assert 0 < np.isinf(ranks["expected"]).sum() < len(ranks)
    np.testing.assert_allclose(held.ndcg10(e_sem, 0.7), ndcg(ranks, 10))
    parts = held.gathered(lambda rows: requests.table.bias.expand(len(rows), -1))
    bias = [s + 2.0 * b for s, b in zip(held.own, parts, strict=True)]
    more = requests.structural(index) + 2.0 * requests.table.bias
    ranks = ranks_of(more.detach().numpy(), requests.target[index].numpy(), allowed.numpy())
    np.testing.assert_allclose(held.ndcg_of([part.detach() for part in bias]), ndcg(ranks, 10))


def test_no_requests_score_nothing(requests: Requests) -> None:
    held = HeldOut(requests, ROWS[:0], exclude_seen=False)
    assert held.mean(torch.empty(0, DIM), 1.0) == 0.0
    assert len(HeldOut(requests, ROWS, exclude_seen=False).rows) == min(len(ROWS), MAX_ROWS)


def test_block_pairs_keep_to_one_user_and_to_the_past(requests: Requests) -> None:
    fresh = ANCHORS.find(SPLIT.validation().user, SPLIT.validation().step)
    pairs = block_pairs(ANCHORS, fresh, np.random.default_rng(0), partners=3)
    gap = ANCHORS.tau[pairs.fresh] - ANCHORS.tau[pairs.stale]
    assert (ANCHORS.user[pairs.fresh] == ANCHORS.user[pairs.stale]).all()
    assert (gap >= 0).all()
    assert (gap <= 20).all()
    own = pairs.fresh == pairs.stale
    assert sorted(pairs.fresh[own]) == sorted(fresh)  # every request once with its own snapshot
    assert np.bincount(np.searchsorted(np.sort(fresh), pairs.fresh[~own])).max() <= 3


def test_recent_means_are_of_the_items_met_since(requests: Requests) -> None:
    pairs = pairs_at_gap(ANCHORS, SPLIT.validation(), 20)
    means = recent_means(requests, pairs, WINDOW)
    vectors = requests.table.vectors.detach().double()
    for place in (0, len(pairs) - 1):
        first = EVENTS.user_start[ANCHORS.user[pairs.fresh[place]]]
        stop = first + ANCHORS.tau[pairs.fresh[place]]
        start = max(first + ANCHORS.tau[pairs.stale[place]], stop - WINDOW)
        met = vectors[torch.from_numpy(EVENTS.item[start:stop].astype(np.int64))]
        torch.testing.assert_close(means[place], met.mean(0).float())
    same = pairs_at_gap(ANCHORS, SPLIT.validation(), 0)
    assert not recent_means(requests, same, WINDOW).any()
