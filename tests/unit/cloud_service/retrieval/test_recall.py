"""Recall is measured before an index serves, and one that has too little is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.retrieval.approximate import ApproximateIndex
from cloud_service.retrieval.exact import ExactIndex
from cloud_service.retrieval.making import candidate_index
from cloud_service.retrieval.recall import QUERIES, found_by, recall_of, sample_queries, tuned
from cloud_service.settings import CloudSettings
from shared.errors import ConfigError

DIM, ITEMS, N = 16, 20_000, 20
Float32 = NDArray[np.float32]


@pytest.fixture(scope="module")
def grouped() -> Float32:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, DIM))
    drawn = centres[rng.integers(0, 60, ITEMS)] + 0.2 * rng.standard_normal((ITEMS, DIM))
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def groupless() -> Float32:
    return np.random.default_rng(0).standard_normal((ITEMS, 4 * DIM)).astype(np.float32)


def test_recall_is_the_share_of_the_right_items() -> None:
    right = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.int32)
    found = np.array([[4, 3, 2, 1], [5, 6, 1, 2]], dtype=np.int32)
    recall = recall_of(found, right)
    assert (recall.mean, recall.worst, recall.n) == (0.75, 0.5, 4)


def test_queries_are_items_their_means_and_those_that_are_told(grouped: Float32) -> None:
    told = np.ones((3, DIM), dtype=np.float32)
    queries = sample_queries(grouped, told)
    assert queries.shape == (QUERIES + 3, DIM)
    assert queries.dtype == np.float32
    np.testing.assert_array_equal(queries[-3:], told)
    lone = [(np.abs(grouped - query).max(axis=1) < 1e-6).any() for query in queries[:-3]]
    assert 0 < sum(lone) < QUERIES


def test_as_few_lists_are_read_as_the_recall_asked_for_needs(grouped: Float32) -> None:
    low, low_recall = tuned(grouped, n=N, least=0.5)
    high, high_recall = tuned(grouped, n=N, least=0.9)
    assert low.probes <= high.probes < high.lists
    assert low_recall.mean >= 0.5
    assert high_recall.mean >= 0.9
    queries = sample_queries(grouped)
    right = found_by(ExactIndex(grouped), queries, N)
    assert recall_of(found_by(high, queries, N), right) == high_recall


def test_too_little_recall_is_refused_with_what_to_do(groupless: Float32) -> None:
    cloud = CloudSettings(exact_below=ITEMS, candidates=N)
    with pytest.raises(ConfigError, match=r"below cloud\.least_recall .*raise cloud\.exact_below"):
        candidate_index(groupless, cloud)


def test_the_number_of_items_decides(grouped: Float32) -> None:
    exact, unmeasured = candidate_index(grouped, CloudSettings(exact_below=ITEMS + 1))
    assert isinstance(exact, ExactIndex)
    assert unmeasured is None
    index, recall = candidate_index(
        grouped, CloudSettings(exact_below=ITEMS, candidates=N, least_recall=0.6)
    )
    assert isinstance(index, ApproximateIndex)
    assert recall is not None
    assert recall.mean >= 0.6
    assert recall.n == N


def test_without_faiss_it_says_what_to_install(
    grouped: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'scalrec\[cloud\]'"):
        ApproximateIndex(grouped)
