"""Fusion of two rankings of one list: the cloud's initial scores and the device's own (LSC4Rec).

Equations 9 and 10 of arXiv 2501.05647. ``normalised`` and ``fused`` work on one list [n] or on many
[..., n]; arithmetic is float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def normalised(scores: NDArray[np.floating]) -> Floats:
    """Scores [..., n] moved to [0, 1] within each list (eq. 9); zeros where all are equal.

    Raises:
        ValueError: a list is empty, or a score is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape[-1:] == (0,):
        raise ValueError("an empty list of candidates has no scores to normalise")
    if not np.isfinite(values).all():
        raise ValueError("scores of candidates must be finite")
    low = values.min(axis=-1, keepdims=True)
    spread = values.max(axis=-1, keepdims=True) - low
    moved: Floats = np.divide(values - low, spread, out=np.zeros_like(values), where=spread > 0.0)
    return moved


def fused(
    initial: NDArray[np.floating],
    rerank: NDArray[np.floating],
    alpha: float,
    allowed: NDArray[np.bool_] | None = None,
) -> Floats:
    """P [..., n] of every candidate (eq. 10).

    Args:
        initial: [..., n] scores that came with the list.
        rerank: [..., n] the device's scores of the same candidates.
        alpha: share of the initial scores, from 0 (the device alone) to 1 (the cloud alone).
        allowed: [..., n] candidates that may be recommended; others get -inf. They do count for
            the normalisation, so that a list means the same whatever the user has met since.

    Raises:
        ValueError: alpha lies outside [0, 1], shapes differ, or a score is not finite.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}, expected a share between 0 and 1")
    if initial.shape != rerank.shape:
        raise ValueError(f"{initial.shape} initial scores, but {rerank.shape} of the device")
    scores = alpha * normalised(initial) + (1.0 - alpha) * normalised(rerank)
    return scores if allowed is None else np.where(allowed, scores, -np.inf)


def unlisted(
    scores: NDArray[np.floating], rerank: NDArray[np.floating], alpha: float
) -> NDArray[np.float64]:
    """P [m] of items that the cloud did not list: its part is 0, as for the last item on its list.

    The device's part is on the scale of the list: scores [m] are moved as the list's own P_rerank
    [n] are (eq. 9), and so lie above 1 or below 0 where they are better or worse than all of
    these. What is listed therefore scores the same whatever is ranked beside it. Distances count
    as they are where the list gives no scale, being empty or all equal.
    """
    values = np.asarray(scores, dtype=np.float64)
    low = float(rerank.min()) if len(rerank) else 0.0
    spread = float(rerank.max()) - low if len(rerank) else 0.0
    return (1.0 - alpha) * (values - low) / (spread or 1.0)
