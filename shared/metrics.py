"""Ranking metrics in float64, ties at their expected rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


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
