"""Bounded correction of a stale semantic embedding (SCaLRec eqs. 11, 13 and 14)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPS = 1e-8


def correction_strength(reliability: float) -> float:
    """alpha = 1 - r, within [0, 1]; 0 (leave the snapshot as it is) when r is not a number."""
    alpha = 1.0 - reliability
    return min(1.0, alpha) if alpha > 0.0 else 0.0


def bounded_correction(
    proposal: ArrayLike, alpha: ArrayLike, gamma_max: float
) -> NDArray[np.float32]:
    """de = lam * v, lam = min(1, gamma_max * alpha / (|v| + eps)): |de| <= gamma_max * alpha.

    Args:
        proposal: v [..., d] from the calibrator network (eq. 12).
        alpha: [...] in [0, 1], one per proposal.
        gamma_max: radius at alpha = 1, in units of e_sem.

    Returns:
        [..., d] float32; zeros where the proposal is not finite.
    """
    v = np.asarray(proposal, dtype=np.float64)
    if v.ndim == 1:  # one request, as on a device
        length = math.sqrt(float(v @ v))
        lam = min(1.0, gamma_max * float(np.asarray(alpha)) / (length + EPS))
        one: NDArray[np.float32] = (
            (lam * v).astype(np.float32) if math.isfinite(length) else np.zeros(len(v), np.float32)
        )
        return one
    norm = np.sqrt((v * v).sum(axis=-1))
    scale = np.minimum(1.0, gamma_max * np.asarray(alpha, dtype=np.float64) / (norm + EPS))
    usable = np.isfinite(norm)
    if not usable.all():
        scale, v = np.where(usable, scale, 0.0), np.where(usable[..., None], v, 0.0)
    bounded: NDArray[np.float32] = (scale[..., None] * v).astype(np.float32)
    return bounded
