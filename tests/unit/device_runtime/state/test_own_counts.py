"""Decayed counts against the sum they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.state.own_counts import DecayedCounts


def brute_force(events: list[int | None], half_life: float, window: int | None) -> dict[int, float]:
    """Item -> n_i, event by event."""
    known = [(j, item) for j, item in enumerate(events) if item is not None]
    if window is not None:
        known = known[-window:]
    counts: dict[int, float] = {}
    for step, item in known:
        age = len(events) - 1 - step
        counts[item] = counts.get(item, 0.0) + 2.0 ** (-age / half_life)
    return counts


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=60),
    st.sampled_from([0.3, 1.0, 5.0, 1000.0]),
    st.sampled_from([None, 1, 4, 20]),
)
def test_counts_are_the_sum_over_retained_events(events, half_life, window):
    counts = DecayedCounts(half_life, window)
    for item in events:
        counts.observe(item)
    items, found = counts.now()
    expected = brute_force(events, half_life, window)
    assert items.tolist() == sorted(expected)
    np.testing.assert_allclose(found, [expected[item] for item in sorted(expected)], rtol=1e-12)


def test_the_last_event_has_age_0_and_unknown_ones_age_it():
    counts = DecayedCounts(2.0)
    counts.observe(5)
    assert counts.now()[1].tolist() == [1.0]
    counts.observe(None)
    counts.observe(None)
    assert counts.now()[1].tolist() == [0.5]


def test_a_long_history_neither_overflows_nor_loses_what_is_recent():
    counts = DecayedCounts(3.0)
    for step in range(20_000):
        counts.observe(step % 2)
    for _ in range(5_000):
        counts.observe(2)
    items, found = counts.now()
    assert items.tolist() == [0, 1, 2]
    assert found[2] == pytest.approx(1.0 / (1.0 - 2.0 ** (-1.0 / 3.0)))
    assert (found[:2] == 0.0).all()  # 5,000 events on, less than any float


@pytest.mark.parametrize("half_life", [0.0, -1.0])
def test_a_half_life_is_above_0(half_life):
    with pytest.raises(ValueError, match="half_life must be above 0"):
        DecayedCounts(half_life)
