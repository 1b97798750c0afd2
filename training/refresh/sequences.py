"""Scores that build up while a snapshot ages, of whole walks at once.

[U, S, S] scores as ``training.refresh.closed_loop`` reads them: of step t with the snapshot of tau.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def accumulated(scores: Floats) -> Floats:
    """As ``device_runtime.refresh.budgeted.Accumulated`` adds them up."""
    sums = np.cumsum(np.nan_to_num(scores), axis=1)
    return np.where(np.isfinite(scores), sums, np.nan)


def indexed(scores: Floats) -> Floats:
    """As ``device_runtime.refresh.budgeted.RefreshIndex`` weighs them."""
    step = np.arange(scores.shape[1])
    age = step[:, None] - step[None, :]
    return (age + 1.0) * scores - accumulated(scores)
