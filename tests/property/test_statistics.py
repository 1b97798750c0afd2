"""Intervals: within the data, as wide as they must be, and those of the bootstrap as written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.statistics import Estimate, Resampler, no_estimate


def interval_of(values, clusters, *, draws: int = 2000, seed: int = 0) -> Estimate:
    resampler = Resampler(clusters, draws=draws, seed=seed)
    return resampler.mean(resampler.add(values))


def bootstrap(values, clusters, *, draws: int, seed: int) -> tuple[float, float]:
    """The interval as textbooks have it: whole users drawn with replacement, one draw at a time."""
    names, codes = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes)
    rng = np.random.default_rng(seed)
    share = np.full(len(names), 1.0 / len(names))
    means = []
    for _ in range(draws):
        times = rng.multinomial(len(names), share)
        means.append((times @ sums) / (times @ counts))
    low, high = np.quantile(means, [0.025, 0.975])
    return low, high


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_interval_holds_within_the_data_and_repeats(pairs):
    values, clusters = zip(*pairs, strict=True)
    interval = interval_of(values, clusters, draws=200)
    slack = 1e-12
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert interval.value == pytest.approx(np.mean(values))
    assert interval.count == len(values)
    assert interval == interval_of(values, clusters, draws=200)
    names = [f"user {cluster}" for cluster in clusters]
    assert interval == interval_of(values, names, draws=200)


def test_interval_covers_the_mean_about_95_times_in_100():
    rng = np.random.default_rng(5)
    users, per_user, trials = 60, 5, 300
    covered = 0
    clusters = np.repeat(np.arange(users), per_user)
    for _ in range(trials):
        # Requests of a user share an effect: intervals over requests alone would be too short.
        values = np.repeat(rng.normal(size=users), per_user) + rng.normal(size=users * per_user)
        interval = interval_of(values, clusters, draws=400)
        covered += interval.low <= 0.0 <= interval.high
    assert 0.90 <= covered / trials <= 0.98


def test_clusters_widen_the_interval_of_dependent_requests():
    rng = np.random.default_rng(6)
    values = np.repeat(rng.normal(size=50), 20)
    clustered = interval_of(values, np.repeat(np.arange(50), 20))
    naive = interval_of(values, np.arange(1000))
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_pairing_sees_a_small_steady_difference_that_unpaired_intervals_hide():
    rng = np.random.default_rng(7)
    theirs = rng.uniform(size=400)
    ours = theirs + 0.01 + rng.normal(scale=0.01, size=400)
    users = np.arange(400) // 4
    difference = interval_of(ours - theirs, users)
    assert 0 < difference.low <= difference.value <= difference.high
    assert interval_of(ours, users).low < interval_of(theirs, users).high


def test_nothing_scored_gives_no_number():
    assert interval_of([], []) == no_estimate()


def test_values_and_clusters_of_different_length_are_refused():
    with pytest.raises(ValueError, match="values for"):
        interval_of([1.0, 2.0], [0])


def test_resampler_gives_the_interval_of_the_bootstrap_as_written() -> None:
    rng = np.random.default_rng(1)
    users, values = rng.integers(0, 30, 400), rng.random(400)
    resampler = Resampler(users, draws=300, seed=7)
    handle = resampler.add(values)
    resampler.add(values**2, values > 0.5)
    low, high = bootstrap(values, users, draws=300, seed=7)
    ours = resampler.mean(handle)
    assert ours.count == 400
    assert (ours.value, ours.low, ours.high) == pytest.approx((values.mean(), low, high), rel=1e-12)


def _of_seeds(levels: list[float], noise: float = 0.1) -> Estimate:
    """The interval of 200 users with three requests each, under seeds of these levels."""
    rng = np.random.default_rng(3)
    resampler = Resampler(np.arange(200))
    counts = np.full((200, len(levels)), 3.0)
    sums = counts * (np.array(levels) + noise * rng.standard_normal((200, len(levels))))
    return resampler.mean(resampler.add_sums(sums, counts))


def test_what_another_training_would_have_come_to_widens_the_interval() -> None:
    alike, apart = _of_seeds([0.5] * 5), _of_seeds([0.3, 0.4, 0.5, 0.6, 0.7])
    assert alike.value == pytest.approx(apart.value, abs=0.01)
    assert alike.count == apart.count == 600
    width = [None not in (e.low, e.high) and e.high - e.low for e in (alike, apart)]
    assert 0 < width[0] < 0.02
    assert width[1] > 0.2  # 2 x 1.96 x .141 / sqrt(5)


def test_one_seed_is_the_users_spread_alone() -> None:
    rng = np.random.default_rng(5)
    sums, counts = rng.random(50), np.ones(50)
    resampler = Resampler(np.arange(50))
    flat, column = (
        resampler.add_sums(sums, counts),
        resampler.add_sums(sums[:, None], counts[:, None]),
    )
    assert resampler.mean(flat) == resampler.mean(column)


def test_resampler_of_an_empty_group_has_no_value() -> None:
    resampler = Resampler([0, 0, 1])
    handle = resampler.add([1.0, 2.0, 3.0], np.zeros(3, dtype=bool))
    assert resampler.mean(handle) == Estimate(value=None, low=None, high=None, count=0)


def test_ratio_is_that_of_the_means() -> None:
    resampler = Resampler(np.arange(50), draws=200)
    half, whole = resampler.add(np.full(50, 0.5)), resampler.add(np.linspace(0.9, 1.1, 50))
    ratio = resampler.ratio(half, whole)
    assert ratio.value == pytest.approx(0.5)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 0.5 < ratio.high
