"""Ranking metrics in float64, ties at their expected rank, and user-clustered intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALF_LIFE = 20.0  # of the decayed counter, in events of a user
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval; ``count`` is the number of requests behind it."""

    value: float
    low: float
    high: float
    count: int

    def as_dict(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


def expected_rank(scores: ArrayLike, target: int) -> float:
    """1-based rank of ``scores[target]`` among ``scores`` [n]; ties share their expected rank.

    A NaN score of another item never outranks the target; a NaN score of the target ranks last.
    """
    values = np.asarray(scores, dtype=np.float64)
    own = values[target]
    if np.isnan(own):
        return float(len(values))
    above = int(np.count_nonzero(values > own))
    ties = int(np.count_nonzero(values == own)) - 1
    return 1.0 + above + ties / 2.0


def hit_rate(ranks: ArrayLike, k: int) -> Float:
    """HR@k per request [n]: 1 where the rank is at most k. A missing target has rank inf."""
    return (np.asarray(ranks, dtype=np.float64) <= k).astype(np.float64)


def ndcg(ranks: ArrayLike, k: int) -> Float:
    """NDCG@k per request [n] with one relevant item: 1 / log2(1 + rank) up to rank k, else 0."""
    ranks = np.asarray(ranks, dtype=np.float64)
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def bootstrap_interval(
    values: ArrayLike, clusters: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean of ``values`` [n] and its 95 % percentile interval, resampling whole clusters (users).

    For a *paired* comparison pass the per-request differences: both scorers then see the same
    resampled users. Requests of one user are not independent, hence the clusters.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    n_clusters = int(codes.max()) + 1
    sums = np.bincount(codes, weights=values, minlength=n_clusters)
    counts = np.bincount(codes, minlength=n_clusters).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    # In blocks, so that a million users do not need draws x users floats at once.
    block = max(1, min(draws, 4_000_000 // n_clusters))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        weights = rng.multinomial(n_clusters, np.full(n_clusters, 1.0 / n_clusters), size=size)
        means[start : start + size] = (weights @ sums) / (weights @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), int(values.size))


def paired_difference(
    ours: ArrayLike, theirs: ArrayLike, clusters: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Interval of mean(ours - theirs), paired by request and clustered by user."""
    ours = np.asarray(ours, dtype=np.float64)
    theirs = np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(f"paired values differ in shape: {ours.shape} and {theirs.shape}")
    return bootstrap_interval(ours - theirs, clusters, draws=draws, seed=seed)
