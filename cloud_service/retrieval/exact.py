"""ExactIndex: every item is scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloud_service.retrieval.base import Float32, Found, require_query


class ExactIndex:
    """One matrix product and a partial sort; ties go to the lower item index.

    Args:
        item_vectors: [I, d] float32, those of the semantic channel.
    """

    def __init__(self, item_vectors: Float32):
        self._item_vectors_T = np.ascontiguousarray(item_vectors.T, dtype=np.float32)

    def search(self, e_sem: Float32, n: int) -> Found:
        require_query(e_sem, len(self._item_vectors_T), n)
        scores = e_sem @ self._item_vectors_T  # [b, I]
        items = np.stack([_best(row, n) for row in scores])
        return items.astype(np.int32), np.take_along_axis(scores, items, axis=1)


def _best(scores: Float32, n: int) -> NDArray[np.intp]:
    """Indices of the n highest of [I] scores, best first, ties by index."""
    if n < len(scores):
        # argpartition splits ties at the border anyhow: take all of them, then the first ones.
        border = scores[np.argpartition(-scores, n - 1)[n - 1]]
        contenders = np.flatnonzero(scores >= border)
    else:
        contenders = np.arange(len(scores))
    return contenders[np.argsort(-scores[contenders], kind="stable")][:n]
