"""Metrics against an oracle that enumerates every order of tied items."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.metrics import (
    expected_rank,
    expected_ranks,
    hit_rate,
    ndcg,
)
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
    assert expected_rank(scores, target) == pytest.approx(
        np.mean(ranks_over_all_orders(scores, target))
    )


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30, unique=True), st.data())
def test_rank_without_ties_is_the_place_in_sorted_order(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    assert expected_rank(scores, target) == 1 + sorted(scores, reverse=True).index(scores[target])


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20), st.data())
def test_rank_is_always_within_the_list(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    assert 1.0 <= expected_rank(scores, target) <= len(scores)


@given(st.lists(st.lists(few_values, min_size=5, max_size=5), min_size=1, max_size=4), st.data())
def test_ranks_of_many_are_those_of_each_among_what_is_allowed(rows, data):
    scores = np.array(rows, dtype=np.float32)
    target = np.array([data.draw(st.integers(0, 4)) for _ in rows])
    mask = st.lists(st.booleans(), min_size=5, max_size=5)
    allowed = np.array([data.draw(mask) for _ in rows])
    found = expected_ranks(scores, target, allowed)
    for row, at, may, rank in zip(scores, target, allowed, found, strict=True):
        assert rank == (expected_rank(row[may], may[:at].sum()) if may[at] else math.inf)
    everything = [expected_rank(row, at) for row, at in zip(scores, target, strict=True)]
    assert expected_ranks(scores, target).tolist() == everything


def test_ranks_do_not_depend_on_float32_rounding_of_equal_scores():
    scores = np.array([0.1, 0.1, 0.2], dtype=np.float32)
    assert expected_rank(scores, 0) == expected_rank(scores, 1) == 2.5


@given(st.lists(st.floats(1, 100) | st.just(math.inf), min_size=1, max_size=30), st.integers(1, 20))
def test_gains_against_their_definition(ranks, k):
    gains, hits = ndcg(ranks, k), hit_rate(ranks, k)
    for rank, gain, hit in zip(ranks, gains, hits, strict=True):
        inside = rank <= k
        assert hit == float(inside)
        assert gain == pytest.approx(1 / math.log2(1 + rank) if inside else 0.0)
    assert gains.dtype == hits.dtype == np.float64
    assert (gains <= hits).all()


def test_known_values():
    assert ndcg([1, 3, 10, 11, math.inf], 10).tolist() == pytest.approx(
        [1.0, 0.5, 1 / math.log2(11), 0.0, 0.0]
    )
