"""Where the item that the user really took stands in a ranking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.metrics import expected_rank


def target_rank(items: NDArray[np.int32], scores: NDArray[np.float32], target: int) -> float:
    """Expected rank of ``target`` among ``items`` [n], ascending; inf if it is not there."""
    at = int(np.searchsorted(items, target))
    if at == len(items) or items[at] != target:
        return np.inf
    return expected_rank(scores, at)
