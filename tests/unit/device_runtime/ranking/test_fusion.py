import math

import numpy as np
import pytest

from device_runtime.ranking import fusion as reranker


def i4(*values):
    return np.array(values, dtype=np.int32)


def f4(*values):
    return np.array(values, dtype=np.float32)


def test_the_copy_bonus_sums_over_the_events_of_an_item():
    items, bonus = reranker.copy_bonus(i4(9, 2, 9, 7), f4(1.0, 0.0, 2.0, 3.0))
    assert items.tolist() == [2, 7, 9]
    sums = [1.0, math.exp(3), math.exp(1) + math.exp(2)]
    np.testing.assert_allclose(bonus, np.log1p(sums), rtol=1e-6)
    assert items.dtype == np.int32
    assert bonus.dtype == np.float32


def test_extreme_copy_logits_stay_finite():
    _, bonus = reranker.copy_bonus(i4(1, 1, 1), f4(1e30, np.inf, -1e4))
    assert np.isfinite(bonus).all()


def test_structural_and_fused_scores_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    structural = reranker.structural_scores(vectors, f4(0.5, -1.0), f4(3.0, 4.0))
    assert structural.tolist() == [3.5, 7.0]
    assert reranker.fuse(structural, f4(10.0, 1.0), 0.5).tolist() == [8.5, 7.5]


@pytest.mark.parametrize("n", [30, 3000])
def test_ties_go_to_the_lower_position(n):
    scores = np.random.default_rng(0).integers(0, 4, n).astype(np.float32)
    expected = sorted(range(n), key=lambda i: (-scores[i], i))
    for k in (1, 7, 29, n, n + 5):
        assert reranker.top_k(scores, k).tolist() == expected[:k]


def test_nothing_to_rank_gives_nothing():
    assert reranker.top_k(f4(), 10).tolist() == []
    assert reranker.top_k(f4(1.0), 0).tolist() == []
