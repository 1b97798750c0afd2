"""Ranking metrics in float64, ties at their expected rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALF_LIFE = 20.0  # of the decayed counter, in events of a user
Float = NDArray[np.float64]


def expected_rank(scores: ArrayLike, target: int) -> float:
    """``expected_ranks`` of one request: of ``scores[target]`` among ``scores`` [n]."""
    values = np.asarray(scores, dtype=np.float64)
    return float(expected_ranks(values[None], np.array([target]))[0])


def expected_ranks(
    scores: NDArray[np.floating],
    target: NDArray[np.integer],
    allowed: NDArray[np.bool_] | None = None,
) -> Float:
    """1-based rank of each row's target among the row's scores; ties share their expected rank.

    A NaN score of another item never outranks the target; a NaN score of the target ranks last.

    Args:
        scores: [R, n]. target: [R] columns.
        allowed: [R, n] which columns take part; None for all of them.

    Returns:
        [R] float64, infinity where the target takes no part.
    """
    rows = np.arange(len(scores))
    own = scores[rows, target]
    above, ties = scores > own[:, None], scores == own[:, None]
    if allowed is not None:
        above, ties = above & allowed, ties & allowed
    ranks: Float = above.sum(1, dtype=np.int32) + (ties.sum(1, dtype=np.int32) + 1) / 2.0
    unknown = np.isnan(own)
    if unknown.any():
        ranks[unknown] = scores.shape[1] if allowed is None else allowed[unknown].sum(1)
    if allowed is not None:
        ranks[~allowed[rows, target]] = np.inf
    return ranks


def hit_rate(ranks: ArrayLike, k: int) -> Float:
    """HR@k per request [n]: 1 where the rank is at most k. A missing target has rank inf."""
    return (np.asarray(ranks, dtype=np.float64) <= k).astype(np.float64)


def ndcg(ranks: ArrayLike, k: int) -> Float:
    """NDCG@k per request [n] with one relevant item: 1 / log2(1 + rank) up to rank k, else 0."""
    ranks = np.asarray(ranks, dtype=np.float64)
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)
