"""Candidates from many items: the approximate index against every item scored."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import BenchmarkLine, interleaved
from cloud_service.retrieval.exact import ExactIndex
from cloud_service.retrieval.recall import tuned

Float32 = NDArray[np.float32]
TOPICS = 40
ITEMS_PER_GROUP = 400
MOST_WEIGHT = 200.0  # of a group, where the smallest has 1
DECAY = 0.35  # of the spread from one dimension to the next, as a reduction by PCA leaves it
SPREAD = 0.6  # of items around their group's centre
LENGTHS = 0.25  # standard deviation of the logarithm of vectors' lengths
LEAST_RECALL = 0.98
MILLION = 1e6


def grouped_items(count: int, dim: int, seed: int = 0) -> Float32:
    """[count, dim] vectors such as item texts give: topics, groups within them, a long tail.

    Groups differ in size by two orders of magnitude, dimensions in spread, vectors in length.
    """
    rng = np.random.default_rng(seed)
    groups = max(TOPICS, count // ITEMS_PER_GROUP)
    topics = rng.standard_normal((TOPICS, dim))
    centres = topics[rng.integers(0, TOPICS, groups)] + 0.7 * rng.standard_normal((groups, dim))
    weights = np.minimum(rng.zipf(1.3, groups), MOST_WEIGHT)
    group = rng.choice(groups, count, p=weights / weights.sum())
    vectors = centres[group].astype(np.float32)
    vectors += SPREAD * rng.standard_normal((count, dim), dtype=np.float32)
    vectors *= (np.arange(1, dim + 1) ** -DECAY).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= rng.lognormal(0, LENGTHS, (count, 1)).astype(np.float32)
    return vectors


def compare_retrieval(
    counts: Sequence[int],
    *,
    dim: int,
    n: int,
    least: float = LEAST_RECALL,
    rounds: int = 20,
) -> list[BenchmarkLine]:
    """One search for one user, recall, memory and the time to build, for each number of items."""
    return [line for count in counts for line in _compared(count, dim, n, least, rounds)]


def _compared(count: int, dim: int, n: int, least: float, rounds: int) -> list[BenchmarkLine]:
    vectors = grouped_items(count, dim)
    started = time.perf_counter()
    index, recall = tuned(vectors, n=n, least=least)
    built_s = time.perf_counter() - started
    exact, transposed = ExactIndex(vectors), np.ascontiguousarray(vectors.T)
    rng = np.random.default_rng(1)
    # Others than those that the index was tuned with: users of one to three interests.
    users = [vectors[rng.integers(0, count, 1 + i % 3)].mean(axis=0)[None] for i in range(64)]
    asked, again, product = (itertools.cycle(users) for _ in range(3))
    found = [
        interleaved(lambda: index.search(next(asked), n), theirs, rounds=rounds, calls=4)
        for theirs in (
            lambda: exact.search(next(again), n),
            lambda: next(product) @ transposed,
        )
    ]
    name = f"candidates of {count:,} items"
    searched_s = 1000 * found[0][1] / MILLION
    lists_mb = index.memory_bytes / MILLION
    vectors_mb = vectors.nbytes / MILLION
    return [
        BenchmarkLine.timed(f"{name}, index / every item scored", found[0], "lower; aim .05"),
        BenchmarkLine.timed(f"{name}, index / the matrix product alone", found[1], "lower"),
        BenchmarkLine(
            name=f"{name}, recall of the best {n}",
            ours=recall.mean,
            theirs=1.0,
            unit="share",
            ratio=recall.mean,
            meaning="higher; at least .98",
        ),
        BenchmarkLine(
            name=f"{name}, building and measuring the index / 1,000 searches without it",
            ours=built_s,
            theirs=searched_s,
            unit="s",
            ratio=built_s / searched_s,
            meaning="lower",
        ),
        BenchmarkLine(
            name=f"{name}, memory of the index / of the vectors",
            ours=lists_mb,
            theirs=vectors_mb,
            unit="MB",
            ratio=lists_mb / vectors_mb,
            meaning="lower",
        ),
    ]
