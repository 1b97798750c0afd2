"""Lists: candidates that the cloud wrote for many requests, with its scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Lists:
    """items [R, n] int32 and the cloud's scores [R, n] float32, best first."""

    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    def first(self, n: int) -> Lists:
        return Lists(self.items[:, :n], self.scores[:, :n])
