"""Sets of items against numpy's own functions, which serve any array."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.state.item_sets import add_at, among, distinct, united

ITEMS = st.lists(st.integers(0, 12), max_size=20).map(lambda items: np.array(items, np.int32))


@given(ITEMS, ITEMS)
def test_they_are_what_numpy_makes_of_them(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_array_equal(distinct(one), np.unique(one))
    np.testing.assert_array_equal(united(one, other), np.union1d(one, other))
    np.testing.assert_array_equal(among(one, distinct(other)), np.isin(one, other))
    assert distinct(one).dtype == united(one, other).dtype == np.int32


@given(ITEMS, ITEMS)
def test_values_are_added_where_the_item_is(one: np.ndarray, other: np.ndarray) -> None:
    items, some = distinct(one), distinct(other)
    scores, values = np.arange(len(items), dtype=np.float32), 100.0 + some.astype(np.float32)
    expected = scores + np.where(np.isin(items, some), 100.0 + items, 0.0)
    add_at(scores, items, some, values)
    np.testing.assert_array_equal(scores, expected)
    assert distinct(one) is not one


def test_the_items_given_are_left_as_they_are() -> None:
    items = np.array([3, 1, 3], np.int32)
    assert distinct(items).tolist() == [1, 3]
    assert items.tolist() == [3, 1, 3]
