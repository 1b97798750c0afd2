"""CandidateIndex: the seam to whatever finds the best items of a user embedding."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Found = tuple[NDArray[np.int32], Float32]  # items and their scores, both [b, n]


class CandidateIndex(Protocol):
    """Maximum inner product search over the bundle's item vectors."""

    def search(self, e_sem: Float32, n: int) -> Found:
        """The n best items of each user embedding, best first.

        Args:
            e_sem: [b, d].
            n: candidates wanted; all I items when n >= I.

        Returns:
            items [b, min(n, I)] int32 and their scores <e_sem, v_i> [b, min(n, I)] float32.

        Raises:
            ValueError: another shape than [b, d], or no candidates wanted.
        """


def require_query(e_sem: Float32, dim: int, n: int) -> None:
    """Raises ValueError where ``e_sem`` is not [b, dim] or ``n`` is no number of candidates."""
    if e_sem.ndim != 2 or e_sem.shape[1] != dim:
        raise ValueError(f"e_sem has shape {e_sem.shape}, not [b, {dim}]")
    if n < 1:
        raise ValueError(f"{n} candidates were asked for")
