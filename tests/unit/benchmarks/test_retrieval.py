"""The bench's rows of retrieval: searches of both are timed, and recall is the index's own."""

from __future__ import annotations

import numpy as np

from benchmarks.retrieval import compare_retrieval, grouped_items


def test_items_come_in_groups_of_many_sizes_and_vectors_of_many_lengths() -> None:
    vectors = grouped_items(2_000, 8)
    assert vectors.shape == (2_000, 8)
    assert vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert 0.15 < np.log(lengths).std() < 0.35
    unit = vectors / lengths[:, None]
    nearest = np.sort(unit @ unit.T, axis=1)[:, -10]
    assert np.median(nearest) > 0.8
    np.testing.assert_array_equal(vectors, grouped_items(2_000, 8))


def test_rows_of_one_number_of_items() -> None:
    every, product, recall, built, memory = compare_retrieval(
        [20_000], dim=8, n=10, least=0.95, rounds=2
    )
    assert "20,000 items" in every.name
    assert every.ours > 0
    assert every.theirs > product.theirs > 0
    assert 0.95 <= recall.ours <= 1
    assert built.ours > 0
    # A coordinate more, an id, and the centroids.
    assert 1.1 < memory.ratio < 2
