"""Metrics against an oracle that enumerates every order of tied items."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.metrics import (
    bootstrap_interval,
    expected_rank,
    expected_ranks,
    hit_rate,
    ndcg,
    paired_difference,
)

few_values = st.sampled_from([0.0, 1.0, 2.0, -1.0])


def ranks_over_all_orders(scores, target):
    """Rank of the target in each order that sorts the scores downwards (ties in every order)."""
    return [
        order.index(target) + 1
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


@settings(max_examples=60, deadline=None)
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


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_interval_holds_within_the_data_and_repeats(pairs):
    values, clusters = zip(*pairs, strict=True)
    interval = bootstrap_interval(values, clusters, draws=200)
    slack = 1e-12
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert interval.value == pytest.approx(np.mean(values))
    assert interval.count == len(values)
    assert interval == bootstrap_interval(values, clusters, draws=200)
    names = [f"user {cluster}" for cluster in clusters]
    assert interval == bootstrap_interval(values, names, draws=200)


def test_interval_covers_the_mean_about_95_times_in_100():
    rng = np.random.default_rng(5)
    users, per_user, trials = 60, 5, 300
    covered = 0
    clusters = np.repeat(np.arange(users), per_user)
    for _ in range(trials):
        # Requests of a user share an effect: intervals over requests alone would be too short.
        values = np.repeat(rng.normal(size=users), per_user) + rng.normal(size=users * per_user)
        interval = bootstrap_interval(values, clusters, draws=400)
        covered += interval.low <= 0.0 <= interval.high
    assert 0.90 <= covered / trials <= 0.98


def test_clusters_widen_the_interval_of_dependent_requests():
    rng = np.random.default_rng(6)
    values = np.repeat(rng.normal(size=50), 20)
    clustered = bootstrap_interval(values, np.repeat(np.arange(50), 20))
    naive = bootstrap_interval(values, np.arange(1000))
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_pairing_sees_a_small_steady_difference_that_unpaired_intervals_hide():
    rng = np.random.default_rng(7)
    theirs = rng.uniform(size=400)
    ours = theirs + 0.01 + rng.normal(scale=0.01, size=400)
    users = np.arange(400) // 4
    difference = paired_difference(ours, theirs, users)
    assert 0 < difference.low <= difference.value <= difference.high
    assert bootstrap_interval(ours, users).low < bootstrap_interval(theirs, users).high


def test_nothing_scored_gives_no_number():
    empty = bootstrap_interval([], [])
    assert math.isnan(empty.value)
    assert empty.count == 0


def test_pairs_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        paired_difference([1.0], [1.0, 2.0], [0, 0])


def test_values_and_clusters_of_different_length_are_refused():
    with pytest.raises(ValueError):
        bootstrap_interval([1.0, 2.0], [0])
