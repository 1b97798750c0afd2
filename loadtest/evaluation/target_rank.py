"""Where the item that the user really took stands in a ranking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.metrics import NOT_RANKED, Rank, rank_of


def target_rank(items: NDArray[np.int32], scores: NDArray[np.float32], target: int) -> Rank:
    """Rank of ``target`` among ``items`` [n], ascending."""
    at = int(np.searchsorted(items, target))
    if at == len(items) or items[at] != target:
        return NOT_RANKED
    return rank_of(scores, at)
