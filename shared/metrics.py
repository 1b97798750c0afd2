"""Ranking metrics in float64; over ties they are means over every order the ties could take.

The metric of a mean rank is not the mean of the metric: of 100 items that tie for the first place
one is first in a hundredth of all orders, yet the mean rank is beyond any cut-off. So a rank is
kept with the number of items that share it, and gains are averaged over the places these take.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

HALF_LIFE = 20.0  # of the decayed counter, in events of a user
Float = NDArray[np.float64]

# expected: 1-based mean place of the target over all orders of its ties, inf if it is not ranked;
# tied: items that share its score, itself among them.
RANK = np.dtype([("expected", np.float64), ("tied", np.int32)])
Ranks = NDArray[np.void]  # of dtype RANK; indexed, joined and reshaped like any array


class Rank(NamedTuple):
    """One element of ``Ranks``."""

    expected: float
    tied: int = 1


NOT_RANKED = Rank(np.inf)


def as_ranks(expected: ArrayLike, tied: ArrayLike = 1) -> Ranks:
    """Ranks from mean places and numbers of tied items; 1 where every place is the target's own."""
    places = np.asarray(expected, dtype=np.float64)
    ranks = np.empty(places.shape, dtype=RANK)
    ranks["expected"], ranks["tied"] = places, tied
    return ranks


def rank_of(scores: ArrayLike, target: int) -> Rank:
    """``ranks_of`` one request: of ``scores[target]`` among ``scores`` [n]."""
    values = np.asarray(scores, dtype=np.float64)
    own = float(values[target])
    if math.isnan(own):
        return Rank(float(len(values)))
    above, tied = int(np.count_nonzero(values > own)), int(np.count_nonzero(values == own))
    return Rank(above + (tied + 1) / 2.0, tied)


def ranks_of(
    scores: NDArray[np.floating],
    target: NDArray[np.integer],
    allowed: NDArray[np.bool_] | None = None,
) -> Ranks:
    """Rank of each row's target among the row's scores, with its ties.

    A NaN score of another item never outranks the target; a NaN score of the target ranks last.

    Args:
        scores: [R, n]. target: [R] columns.
        allowed: [R, n] which columns take part; None for all of them.

    Returns:
        [R], not ranked where the target takes no part.
    """
    rows = np.arange(len(scores))
    own = scores[rows, target]
    above, ties = scores > own[:, None], scores == own[:, None]
    if allowed is not None:
        above, ties = above & allowed, ties & allowed
    tied = ties.sum(1, dtype=np.int32)
    places: Float = above.sum(1, dtype=np.int32) + (tied + 1) / 2.0
    unknown = np.isnan(own)
    if unknown.any():
        places[unknown] = scores.shape[1] if allowed is None else allowed[unknown].sum(1)
        tied[unknown] = 1
    if allowed is not None:
        out = ~allowed[rows, target]
        places[out], tied[out] = np.inf, 1
    return as_ranks(places, tied)


def hit_rate(ranks: Ranks, k: int) -> Float:
    """HR@k per request [...]: the share of orders of its ties that list the target by place k."""
    return _mean_gain(ranks, k, np.ones_like)


def ndcg(ranks: Ranks, k: int) -> Float:
    """NDCG@k per request [...] with one relevant item: 1 / log2(1 + place), 0 after place k.

    The mean over every order of the target's ties.
    """
    return _mean_gain(ranks, k, lambda places: 1.0 / np.log2(1.0 + places))


def _mean_gain(ranks: Ranks, k: int, gain: Callable[[Float], Float]) -> Float:
    """[...] mean of the gains of places 1 to k, later ones none, over the tied places."""
    expected, tied = ranks["expected"], ranks["tied"]
    # Records older than the count of ties hold mean places alone: the gain is then taken there.
    found = np.where(expected <= k, gain(expected), 0.0)
    shared = (tied > 1) & np.isfinite(expected)
    if shared.any():
        total = np.concatenate([[0.0], np.cumsum(gain(np.arange(1.0, k + 1)))])
        before = expected[shared] - (tied[shared] + 1) / 2.0
        first, last = (
            np.minimum(edge, k).astype(np.int64) for edge in (before, before + tied[shared])
        )
        found[shared] = (total[last] - total[first]) / tied[shared]
    return found
