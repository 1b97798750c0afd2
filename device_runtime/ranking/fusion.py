"""Scores and order of candidates: the fusion of both channels (SCaLRec eqs. 4 and 14)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_LOGIT = 60.0  # exp() of it, and sums of them, stay inside float32

Floats = NDArray[np.float32]


def copy_bonus(items: NDArray[np.int32], history: NDArray[np.int32], copy_logit: Floats) -> Floats:
    """[n] log(1 + sum of exp(copy_logit_j) over the history's events with that item).

    Args:
        items: [n] int32 candidates, strictly ascending.
        history: [L] int32 items of the encoder's window.
        copy_logit: [L] from the encoder.
    """
    if len(items) == 0:
        return np.zeros(0, dtype=np.float32)
    weights = np.exp(np.minimum(copy_logit, _MAX_LOGIT))
    place = np.searchsorted(items, history)
    place[place == len(items)] = 0
    weights = np.where(items[place] == history, weights, np.float32(0.0))
    return np.log1p(np.bincount(place, weights, minlength=len(items))).astype(np.float32)


def structural_scores(vectors: Floats, bias: Floats, e_str: Floats, bonus: Floats) -> Floats:
    """[n] s_str(i) = <e_str, v_i> + b_i + copy bonus, for vectors [n, d]."""
    return vectors @ e_str + bias + bonus


def fuse(structural: Floats, semantic: Floats, fusion_weight: float) -> Floats:
    """[n] fused score s_str + w * s_sem with the backbone's fixed weight w."""
    return structural + np.float32(fusion_weight) * semantic


def top_k(scores: Floats, k: int) -> NDArray[np.intp]:
    """[min(k, n)] positions of the best scores, best first; ties go to the lower position."""
    n = len(scores)
    if k <= 0 or n == 0:
        return np.empty(0, dtype=np.intp)
    if k < n and n > 512:
        # Everything at least as good as the k-th best, so that ties are cut by position, not luck.
        threshold = np.partition(scores, n - k)[n - k]
        chosen = np.flatnonzero(scores >= threshold)
        return chosen[np.argsort(-scores[chosen], kind="stable")[:k]]
    return np.argsort(-scores, kind="stable")[:k]
