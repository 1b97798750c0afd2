import math

import numpy as np
import pytest

from device_runtime.ranking import fusion as reranker


def i4(*values):
    return np.array(values, dtype=np.int32)


def f4(*values):
    return np.array(values, dtype=np.float32)


def test_the_copy_bonus_sums_over_the_events_of_an_item():
    bonus = reranker.copy_bonus(i4(2, 5, 9), i4(5, 9, 5, 7, 11), f4(0.0, 1.0, 2.0, 3.0, 4.0))
    expected = [0.0, math.log1p(1 + math.exp(2)), math.log1p(math.exp(1))]
    np.testing.assert_allclose(bonus, expected, rtol=1e-6)
    assert bonus.dtype == np.float32


def test_a_copy_bonus_needs_neither_candidates_nor_events():
    assert reranker.copy_bonus(i4(), i4(1), f4(0.0)).shape == (0,)
    assert reranker.copy_bonus(i4(3), i4(), f4()).tolist() == [0.0]


def test_extreme_copy_logits_stay_finite():
    bonus = reranker.copy_bonus(i4(1), i4(1, 1, 1), f4(1e30, np.inf, -1e4))
    assert np.isfinite(bonus).all()


def test_structural_and_fused_scores_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    structural = reranker.structural_scores(vectors, f4(0.5, -1.0), f4(3.0, 4.0), f4(0.25, 0.0))
    assert structural.tolist() == [3.75, 7.0]
    assert reranker.fuse(structural, f4(10.0, 1.0), 0.5).tolist() == [8.75, 7.5]


@pytest.mark.parametrize("n", [30, 3000])
def test_ties_go_to_the_lower_position(n):
    scores = np.random.default_rng(0).integers(0, 4, n).astype(np.float32)
    expected = sorted(range(n), key=lambda i: (-scores[i], i))
    for k in (1, 7, 29, n, n + 5):
        assert reranker.top_k(scores, k).tolist() == expected[:k]


def test_nothing_to_rank_gives_nothing():
    assert reranker.top_k(f4(), 10).tolist() == []
    assert reranker.top_k(f4(1.0), 0).tolist() == []
