"""Metrics against an oracle that enumerates every order of tied items."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.metrics import Rank, as_ranks, hit_rate, ndcg, rank_of, ranks_of
from tests.support.tiers import examples

few_values = st.sampled_from([0.0, 1.0, 2.0, -1.0])


def ranks_over_all_orders(scores, target):
    """Rank of the target in each order that sorts the scores downwards (ties in every order)."""
    return [
        order.index(target) + 1
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(few_values, min_size=1, max_size=6), st.data())
def test_rank_is_the_mean_over_all_orders_of_ties(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    rank = rank_of(scores, target)
    assert rank.expected == pytest.approx(np.mean(ranks_over_all_orders(scores, target)))
    assert rank.tied == scores.count(scores[target])


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(few_values, min_size=1, max_size=6), st.integers(1, 7), st.data())
def test_gains_are_the_means_over_all_orders_of_ties(scores, k, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    places = ranks_over_all_orders(scores, target)
    rank = as_ranks(*rank_of(scores, target))
    gains = [1 / math.log2(1 + place) if place <= k else 0.0 for place in places]
    assert float(ndcg(rank, k)) == pytest.approx(np.mean(gains), rel=1e-12)
    assert float(hit_rate(rank, k)) == pytest.approx(np.mean([p <= k for p in places]), rel=1e-12)


def test_the_first_of_a_hundred_that_tie_is_worth_a_hundredth_of_the_first_ten():
    rank = rank_of(np.zeros(100), 3)
    assert rank == Rank(50.5, 100)
    assert float(ndcg(as_ranks(*rank), 10)) == pytest.approx(0.0454, abs=5e-5)
    assert float(hit_rate(as_ranks(*rank), 10)) == pytest.approx(0.1)


def test_ranks_of_many_are_averaged_each_by_its_own_ties():
    ranks = as_ranks([[1.0, 2.0], [10.5, math.inf]], [[1, 3], [2, 1]])
    want = [[1.0, (1 + 1 / math.log2(3) + 0.5) / 3], [0.5 / math.log2(11), 0.0]]
    np.testing.assert_allclose(ndcg(ranks, 10), want, rtol=1e-12)
    np.testing.assert_allclose(hit_rate(ranks, 10), [[1.0, 1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(ndcg(ranks, 10)[1], ndcg(ranks[1], 10))


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30, unique=True), st.data())
def test_rank_without_ties_is_the_place_in_sorted_order(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    place = 1 + sorted(scores, reverse=True).index(scores[target])
    assert rank_of(scores, target) == (place, 1)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20), st.data())
def test_rank_is_always_within_the_list(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    assert 1.0 <= rank_of(scores, target).expected <= len(scores)


@given(st.lists(st.lists(few_values, min_size=5, max_size=5), min_size=1, max_size=4), st.data())
def test_ranks_of_many_are_those_of_each_among_what_is_allowed(rows, data):
    scores = np.array(rows, dtype=np.float32)
    target = np.array([data.draw(st.integers(0, 4)) for _ in rows])
    mask = st.lists(st.booleans(), min_size=5, max_size=5)
    allowed = np.array([data.draw(mask) for _ in rows])
    found = ranks_of(scores, target, allowed).tolist()
    for row, at, may, rank in zip(scores, target, allowed, found, strict=True):
        assert rank == (rank_of(row[may], may[:at].sum()) if may[at] else (math.inf, 1))
    everything = [rank_of(row, at) for row, at in zip(scores, target, strict=True)]
    assert ranks_of(scores, target).tolist() == everything


def test_ranks_do_not_depend_on_float32_rounding_of_equal_scores():
    scores = np.array([0.1, 0.1, 0.2], dtype=np.float32)
    assert rank_of(scores, 0) == rank_of(scores, 1) == (2.5, 2)


@given(st.lists(st.floats(1, 100) | st.just(math.inf), min_size=1, max_size=30), st.integers(1, 20))
def test_gains_of_places_without_known_ties_are_taken_there(ranks, k):
    """Those of records that do not count ties, too: their figures stay what they were."""
    gains, hits = ndcg(as_ranks(ranks), k), hit_rate(as_ranks(ranks), k)
    for rank, gain, hit in zip(ranks, gains, hits, strict=True):
        inside = rank <= k
        assert hit == float(inside)
        assert gain == pytest.approx(1 / math.log2(1 + rank) if inside else 0.0)
    assert gains.dtype == hits.dtype == np.float64
    assert (gains <= hits).all()


def test_known_values():
    assert ndcg(as_ranks([1, 3, 10, 11, math.inf]), 10).tolist() == pytest.approx(
        [1.0, 0.5, 1 / math.log2(11), 0.0, 0.0]
    )
