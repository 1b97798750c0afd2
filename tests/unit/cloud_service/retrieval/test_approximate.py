"""The inverted file finds what every item scored would, and fills its answer from further lists."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.retrieval.approximate import ApproximateIndex
from cloud_service.retrieval.exact import ExactIndex

DIM, ITEMS = 16, 3000
Float32 = NDArray[np.float32]


def grouped(items: int, seed: int = 0, groups: int = 40) -> Float32:
    """Vectors around centres, of lengths that differ by factors: [items, DIM]."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((groups, DIM))
    vectors = centres[rng.integers(0, groups, items)] + 0.3 * rng.standard_normal((items, DIM))
    return (vectors * rng.lognormal(0, 0.3, (items, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> Float32:
    return grouped(ITEMS)


def test_all_lists_give_what_every_item_scored_gives(vectors: Float32) -> None:
    index, exact = ApproximateIndex(vectors, probes=ITEMS), ExactIndex(vectors)
    queries = grouped(20, seed=1)
    items, scores = index.search(queries, 50)
    right, right_scores = exact.search(queries, 50)
    assert items.dtype == np.int32
    assert scores.dtype == np.float32
    assert (items == right).mean() > 0.99  # scores that differ in the last digit may change places
    np.testing.assert_allclose(scores, right_scores, rtol=1e-5, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_few_lists_read_few_items_and_miss_some(vectors: Float32) -> None:
    queries = grouped(50, seed=1)
    right, _ = ExactIndex(vectors).search(queries, 50)

    def found(probes: int) -> float:
        items, _ = ApproximateIndex(vectors, probes=probes).search(queries, 50)
        return float(np.mean([np.isin(*pair).mean() for pair in zip(right, items, strict=True)]))

    assert found(1) < found(4) <= found(ITEMS)
    assert found(4) > 0.7


def test_an_answer_is_whole_though_one_list_holds_fewer(vectors: Float32) -> None:
    index = ApproximateIndex(vectors, probes=1)
    items, _ = index.search(grouped(5, seed=2), ITEMS - 1)
    assert items.shape == (5, ITEMS - 1)
    assert all(len(set(row)) == ITEMS - 1 and min(row) >= 0 for row in items.tolist())


def test_more_candidates_than_items_are_all_items() -> None:
    few = grouped(7)
    items, scores = ApproximateIndex(few).search(few[:1], 100)
    assert sorted(items[0].tolist()) == list(range(7))
    assert scores.shape == (1, 7)


def test_ties_go_to_the_lower_item() -> None:
    same = np.ones((10, DIM), dtype=np.float32)
    items, _ = ApproximateIndex(same).search(same[:1], 10)
    assert items[0].tolist() == list(range(10))


def test_the_same_vectors_give_the_same_index(vectors: Float32) -> None:
    queries = grouped(10, seed=3)
    once, again = (ApproximateIndex(vectors, probes=2).search(queries, 30) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])


def test_refuses_what_exact_refuses_and_vectors_that_are_not_finite(vectors: Float32) -> None:
    index = ApproximateIndex(vectors)
    with pytest.raises(ValueError, match=rf"not \[b, {DIM}\]"):
        index.search(np.zeros((1, 2), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="0 candidates"):
        index.search(vectors[:1], 0)
    with pytest.raises(ValueError, match="finite"):
        ApproximateIndex(np.full((3, 2), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="matrix"):
        ApproximateIndex(np.zeros((0, 2), dtype=np.float32))
