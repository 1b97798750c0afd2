import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_service.retrieval.exact import ExactIndex


@given(
    seed=st.integers(0, 2**32 - 1),
    n_items=st.integers(1, 40),
    n=st.integers(1, 50),
    batch=st.integers(1, 4),
)
def test_agrees_with_a_full_sort_even_among_ties(
    seed: int, n_items: int, n: int, batch: int
) -> None:
    rng = np.random.default_rng(seed)
    # Small integers: sums are exact and ties frequent.
    vectors = rng.integers(-1, 2, (n_items, 3)).astype(np.float32)
    e_sem = rng.integers(-2, 3, (batch, 3)).astype(np.float32)
    items, scores = ExactIndex(vectors).search(e_sem, n)
    assert items.dtype == np.int32
    assert scores.dtype == np.float32
    assert items.shape == scores.shape == (batch, min(n, n_items))
    for row in range(batch):
        full = vectors @ e_sem[row]
        expected = sorted(range(n_items), key=lambda i, full=full: (-full[i], i))[:n]
        assert items[row].tolist() == expected
        np.testing.assert_array_equal(scores[row], full[expected])


def test_refuses_a_wrong_dimension_and_no_candidates() -> None:
    index = ExactIndex(np.zeros((4, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="not \\[b, 3\\]"):
        index.search(np.zeros((1, 2), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="0 candidates"):
        index.search(np.zeros((1, 3), dtype=np.float32), 0)
