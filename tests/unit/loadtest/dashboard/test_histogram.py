"""Quantiles from counts: close to the exact ones, and the same however the counts were split."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.dashboard.histogram import LogHistogram

values = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200)


def of(numbers: list[float]) -> LogHistogram:
    histogram = LogHistogram()
    for number in numbers:
        histogram.add(number)
    return histogram


@given(values)
def test_quantiles_are_within_five_percent(numbers: list[float]) -> None:
    shares = (0.0, 0.5, 0.9, 0.99, 1.0)
    exact = np.quantile(numbers, shares, method="inverted_cdf")
    for found, true in zip(of(numbers).quantiles(*shares), exact, strict=True):
        assert found is not None
        assert math.isclose(found, true, rel_tol=0.05)


@given(values, values)
def test_merging_is_counting_together_and_can_be_undone(a: list[float], b: list[float]) -> None:
    merged = of(a)
    merged.merge(of(b))
    assert merged == of(a + b)
    merged.merge(of(b), -1)
    assert merged == of(a)


def test_what_is_no_number_is_not_counted_and_extremes_are_kept() -> None:
    histogram = of([math.nan])
    assert histogram.count == 0
    assert histogram.quantiles(0.5, 0.9) == [None, None]
    [low, high] = of([0.0, math.inf]).quantiles(0.0, 1.0)
    assert low is not None
    assert high is not None
    assert 0 < low < 0.01
    assert 1e9 < high < 2e9
