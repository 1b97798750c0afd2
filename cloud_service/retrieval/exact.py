"""Candidate retrieval: the N items whose vectors score highest with e_sem (SCaLRec eq. 7)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class CandidateIndex(Protocol):
    """Maximum inner product search over the bundle's item vectors."""

    def search(
        self, e_sem: NDArray[np.float32], n: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The n best items of each user embedding, best first.

        Args:
            e_sem: [b, d].
            n: candidates wanted; all I items when n >= I.

        Returns:
            items [b, min(n, I)] int32 and their scores <e_sem, v_i> [b, min(n, I)] float32.
        """


class ExactIndex:
    """One matrix product and a partial sort; ties go to the lower item index.

    Args:
        item_vectors: [I, d] float32, those of the semantic channel.
    """

    def __init__(self, item_vectors: NDArray[np.float32]):
        self._item_vectors_T = np.ascontiguousarray(item_vectors.T, dtype=np.float32)

    def search(
        self, e_sem: NDArray[np.float32], n: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        if e_sem.ndim != 2 or e_sem.shape[1] != len(self._item_vectors_T):
            raise ValueError(f"e_sem has shape {e_sem.shape}, not [b, {len(self._item_vectors_T)}]")
        if n < 1:
            raise ValueError(f"{n} candidates were asked for")
        scores = e_sem @ self._item_vectors_T  # [b, I]
        items = np.stack([_best(row, n) for row in scores])
        return items.astype(np.int32), np.take_along_axis(scores, items, axis=1)


def _best(scores: NDArray[np.float32], n: int) -> NDArray[np.intp]:
    """Indices of the n highest of [I] scores, best first, ties by index."""
    if n < len(scores):
        # argpartition splits ties at the border anyhow: take all of them, then the first ones.
        border = scores[np.argpartition(-scores, n - 1)[n - 1]]
        contenders = np.flatnonzero(scores >= border)
    else:
        contenders = np.arange(len(scores))
    return contenders[np.argsort(-scores[contenders], kind="stable")][:n]
