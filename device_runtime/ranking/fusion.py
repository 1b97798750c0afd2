"""Scores and order of candidates: the fusion of both channels (SCaLRec eqs. 4 and 14)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_runtime.state.item_sets import distinct

_MAX_LOGIT = 60.0  # exp() of it, and sums of them, stay inside float32

Floats = NDArray[np.float32]


def copy_bonus(history: NDArray[np.int32], copy_logit: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Items [m] of the history, ascending, and of each log(1 + sum of exp(copy_logit_j)) over its
    events; all other items have none.

    Args:
        history: [L] int32 items of the encoder's window.
        copy_logit: [L] from the encoder.
    """
    weights = np.exp(np.minimum(copy_logit, _MAX_LOGIT))
    items = distinct(history)
    sums = np.bincount(items.searchsorted(history), weights, minlength=len(items))
    return items, np.log1p(sums).astype(np.float32)


def structural_scores(vectors: Floats, bias: Floats, e_str: Floats) -> Floats:
    """[n] <e_str, v_i> + b_i for vectors [n, d]: s_str(i) but for the copy bonus."""
    scores = vectors @ e_str
    scores += bias
    return scores


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
        return chosen[(-scores[chosen]).argsort(kind="stable")[:k]]
    return (-scores).argsort(kind="stable")[:k]
