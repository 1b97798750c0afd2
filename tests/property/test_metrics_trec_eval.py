"""Ranks, HR@k and NDCG@k against trec_eval, the reference implementation of both.

trec_eval breaks ties by name, so every order of tied items is given to it as scores of its own.
Every figure is then the mean of its figures over all orders.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.studies.scalrec.scores import Scores
from loadtest.evaluation.target_rank import target_rank
from shared.metrics import RANK, as_ranks, hit_rate, ndcg, rank_of, ranks_of
from shared.profile import preset
from shared.split import split_log
from tests.support.logs import drifting_log
from tests.support.tiers import examples
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.pools import make_pools
from training.semantic.anchors import stale_anchors
from training.semantic.requests import make_requests

CUTS = (1, 2, 3, 5, 10)
MEASURES = {"recip_rank", *(f"{name}.{k}" for name in ("success", "ndcg_cut") for k in CUTS)}


def trec_eval(
    orders: Sequence[Sequence[int]], targets: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Its figures [n] of rankings, best item first, with one relevant item each."""
    relevant = {f"q{q}": {f"item{target}": 1} for q, target in enumerate(targets)}
    run = {
        f"q{q}": {f"item{item}": float(len(order) - place) for place, item in enumerate(order)}
        for q, order in enumerate(orders)
    }
    found = pytrec_eval.RelevanceEvaluator(relevant, MEASURES).evaluate(run)
    rows = [found[f"q{q}"] for q in range(len(orders))]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def orders_of(scores: Sequence[float]) -> list[list[int]]:
    """Every order that sorts the scores downwards."""
    groups = [
        [i for i, score in enumerate(scores) if score == value]
        for value in sorted(set(scores), reverse=True)
    ]
    ways = itertools.product(*(itertools.permutations(group) for group in groups))
    return [[i for group in way for i in group] for way in ways]


@pytest.mark.parametrize("items", [1, 4, 11, 200])
def test_without_ties_every_figure_is_trec_evals(items: int) -> None:
    rng = np.random.default_rng(items)
    scores, targets = rng.normal(size=(150, items)), rng.integers(0, items, 150)
    ranks = ranks_of(scores, targets)
    theirs = trec_eval(np.argsort(-scores, axis=1).tolist(), targets.tolist())
    np.testing.assert_allclose(1.0 / ranks["expected"], theirs["recip_rank"], rtol=1e-12)
    for k in CUTS:
        np.testing.assert_array_equal(hit_rate(ranks, k), theirs[f"success_{k}"])
        np.testing.assert_allclose(ndcg(ranks, k), theirs[f"ndcg_cut_{k}"], rtol=1e-12)
    assert 0 < np.mean(theirs["ndcg_cut_10"]) <= 1


def test_a_target_that_is_not_listed_scores_as_in_trec_eval() -> None:
    items, scores = np.array([2, 5, 9], np.int32), np.array([0.1, 0.9, 0.4], np.float32)
    ranks = np.array([target_rank(items, scores, target) for target in (9, 4)], RANK)
    theirs = trec_eval([[5, 9, 2]] * 2, [9, 4])
    for k in CUTS:
        np.testing.assert_array_equal(hit_rate(ranks, k), theirs[f"success_{k}"])
        np.testing.assert_allclose(ndcg(ranks, k), theirs[f"ndcg_cut_{k}"], rtol=1e-12)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.data())
def test_ties_stand_at_the_mean_rank_and_score_the_mean_over_all_orders(
    scores: list[int], data: st.DataObject
) -> None:
    target = data.draw(st.integers(0, len(scores) - 1))
    orders = orders_of(scores)
    theirs = trec_eval(orders, [target] * len(orders))
    rank = rank_of(scores, target)
    assert rank.expected == pytest.approx(np.mean(1.0 / theirs["recip_rank"]), rel=1e-12)
    ranks = as_ranks(*rank)
    for k in CUTS:
        hits, gains = theirs[f"success_{k}"], theirs[f"ndcg_cut_{k}"]
        assert float(hit_rate(ranks, k)) == pytest.approx(hits.mean(), rel=1e-12)
        assert float(ndcg(ranks, k)) == pytest.approx(gains.mean(), rel=1e-12)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_studys_ranks_among_candidates_are_trec_evals(exclude_seen: bool) -> None:
    """Counters tie nearly everywhere, fused scores nowhere; candidates leave some targets out."""
    log = drifting_log(users=12, events=24)
    steps = split_log(log, test_steps=3).test()
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=8, layers=1, window=8)).eval()
    anchors = stale_anchors(steps, ())
    with torch.no_grad():
        requests = make_requests(
            model, ItemParameters(len(log.catalogue), 8), events_of(log), anchors
        )
        rows = np.arange(len(requests))
        popularity = np.bincount(log.item, minlength=len(log.catalogue)) // 4
        pools = make_pools(requests, rows, preset("small"), popularity, exclude_seen=exclude_seen)
        scores = Scores(
            pools,
            requests,
            rows,
            popularity=torch.from_numpy(popularity),
            half_life=20.0,
            plain=pools.structural,
            second=pools.structural,
        )
        among = torch.rand(scores.structural.shape) < 0.7
        allowed = among.clone()
        if exclude_seen:
            allowed[requests.seen(torch.from_numpy(rows))] = False
        named = scores.counters | {"fused": pools.fused(torch.randn(len(rows), 8))}
    for name, values in named.items():
        found = pools.ranks(values, among)
        ranks, gains = found["expected"], ndcg(found, 10)
        for row, (rank, target) in enumerate(zip(ranks, pools.target.tolist(), strict=True)):
            items = torch.nonzero(allowed[row])[:, 0].tolist()
            if target not in items:
                assert rank == np.inf
                continue
            # The best and the worst order of the target's ties; the mean of all lies halfway.
            sides = [
                sorted(items, key=lambda i: (-float(values[row, i]), (i == target) == late))
                for late in (False, True)
            ]
            theirs = 1.0 / trec_eval(sides, [target] * 2)["recip_rank"]
            assert rank == pytest.approx(theirs.mean(), rel=1e-12)
            every = np.arange(theirs.min(), theirs.max() + 1)  # the places its ties take
            mean = np.where(every <= 10, 1 / np.log2(1 + every), 0.0).mean()
            assert gains[row] == pytest.approx(mean, rel=1e-9)
            if name == "fused":
                assert theirs[0] == theirs[1]
    assert np.isinf(ranks).any()
    assert np.isfinite(ranks).any()
