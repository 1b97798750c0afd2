"""Collaborative inference, LSC4Rec equations 8-10."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device_runtime.ranking.list_fusion import fused, normalised

LISTS = arrays(np.float32, 7, elements=st.floats(-1e3, 1e3, width=32))


def test_the_equations_by_hand() -> None:
    initial, rerank = np.array([-1.0, -3.0, -2.0]), np.array([4.0, 8.0, 8.0])
    np.testing.assert_allclose(normalised(initial), [1.0, 0.0, 0.5])
    np.testing.assert_allclose(fused(initial, rerank, 0.25), [0.25, 0.75, 0.875])


def test_what_may_not_be_recommended_is_filtered_after_the_normalisation() -> None:
    initial, rerank = np.array([[3.0, 2.0, 1.0]]), np.array([[0.0, 1.0, 2.0]])
    allowed = np.array([[False, True, True]])
    np.testing.assert_allclose(fused(initial, rerank, 1.0, allowed), [[-np.inf, 0.5, 0.0]])


@given(LISTS, LISTS, st.floats(0, 1))
def test_scales_and_offsets_of_either_side_do_not_matter(
    initial: np.ndarray, rerank: np.ndarray, alpha: float
) -> None:
    # Differences far below the offset would be rounded away with it.
    initial = np.round(initial * 64) / 64
    before = fused(initial, rerank, alpha)
    assert before.dtype == np.float64
    assert ((before >= 0.0) & (before <= 1.0 + 1e-12)).all()
    after = fused(4.0 * initial.astype(np.float64) + 8.0, rerank, alpha)
    np.testing.assert_allclose(after, before, atol=1e-6)


@given(LISTS, LISTS)
def test_alpha_one_is_the_cloud_and_alpha_zero_the_device(
    initial: np.ndarray, rerank: np.ndarray
) -> None:
    np.testing.assert_array_equal(fused(initial, rerank, 1.0), normalised(initial))
    np.testing.assert_array_equal(fused(initial, rerank, 0.0), normalised(rerank))


def test_equal_scores_say_nothing() -> None:
    np.testing.assert_array_equal(normalised(np.full(4, 2.5)), np.zeros(4))


def test_nonsense_is_refused() -> None:
    scores = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="share between 0 and 1"):
        fused(scores, scores, 1.2)
    with pytest.raises(ValueError, match="of the device"):
        fused(scores, scores[:1], 0.5)
    with pytest.raises(ValueError, match="finite"):
        normalised(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="empty"):
        normalised(np.empty(0))
