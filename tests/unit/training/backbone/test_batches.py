"""Windows: each training event is a target once, contexts never cross users."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from tests.support.tiers import examples
from training.backbone.batches import Events, training_windows, windows_before


def make_events(sizes: list[int]) -> Events:
    """Item = its own row, so that windows can be read back."""
    n = sum(sizes)
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Events(np.arange(n), np.arange(n) % 168.0, start, np.arange(n) * 3600.0)


@settings(deadline=None, max_examples=examples(60))
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda s: max(s) >= 2),
    width=st.integers(1, 12),
    data=st.data(),
)
def test_every_event_with_a_history_is_a_target_once(
    sizes: list[int], width: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, width))
    events = make_events(sizes)
    windows = training_windows(events, width, stride, np.random.default_rng(0))
    targets = windows.next_item[windows.wanted].tolist()
    expected = [
        row for user in range(len(sizes)) for row in range(*events.user_start[user : user + 2])[1:]
    ]
    assert sorted(targets) == expected
    for row in range(len(windows)):
        n = int(windows.length[row])
        items = windows.item[row, :n].tolist()
        assert items == list(range(items[0], items[0] + n))  # consecutive: one user, in order
        assert windows.next_item[row, :n].tolist() == [i + 1 for i in items]
        # Hours since the request, and the padding stands at the request itself.
        assert windows.age_h[row, :n].tolist() == [items[-1] + 1 - i for i in items]
        assert (windows.age_h[row, n:] == 0).all()
        assert (windows.hour[row, n:] == windows.request_hour[row]).all()


def test_targets_late_in_a_window_see_at_least_width_minus_stride_plus_one_events() -> None:
    windows = training_windows(make_events([100]), 10, 4, np.random.default_rng(1))
    context = torch.arange(1, 11).expand(len(windows), -1)[windows.wanted]
    target = windows.next_item[windows.wanted]
    assert (context >= torch.minimum(target, torch.tensor(7))).all()


def test_rows_are_cut_to_the_longest() -> None:
    windows = windows_before(make_events([30]), np.array([2, 5]), 10, np.array([2, 5]))
    assert windows.rows(torch.tensor([0])).item.shape == (1, 2)
    assert windows.rows(torch.tensor([0, 1])).item.shape == (2, 5)


def test_a_first_event_cannot_be_predicted() -> None:
    with pytest.raises(DataError, match="no history"):
        windows_before(make_events([3, 3]), np.array([3]), 4, np.array([3]))


def test_keep_first_drops_the_rest_of_each_user() -> None:
    kept = make_events([4, 3, 2]).keep_first(np.array([2, 0, 2]))
    assert kept.item.tolist() == [0, 1, 7, 8]
    assert kept.user_start.tolist() == [0, 2, 2, 4]
    with pytest.raises(DataError, match="counts"):
        kept.keep_first(np.array([3, 0, 2]))


def test_columns_must_fit_together() -> None:
    with pytest.raises(DataError, match="differ in length"):
        Events(np.arange(3), np.zeros(2), np.array([0, 3]))
    with pytest.raises(DataError, match="user_start"):
        Events(np.arange(3), np.zeros(3), np.array([0, 2]))
