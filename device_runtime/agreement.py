"""Agreement: omega of a snapshot whose own side is ranked once, for the requests that follow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from device_runtime.cues import average_ranks, correlation


class Agreement:
    """Spearman correlation with fixed scores; the same number as ``device_runtime.cues.omega``.

    Args:
        semantic: [n] scores of the candidates that omega compares.
    """

    def __init__(self, semantic: NDArray[np.floating]) -> None:
        n = len(semantic)
        self._ranks = average_ranks(semantic)
        self._centred = self._ranks - self._ranks.mean() if n else self._ranks
        self._places = np.arange(n, dtype=np.float64)
        variation = float(self._centred @ self._centred) * n * (n * n - 1) / 12.0
        self._scale = 1.0 / math.sqrt(variation) if variation > 0.0 else 0.0

    def with_scores(self, structural: NDArray[np.floating]) -> float:
        """omega for the structural scores [n] of the same candidates."""
        order = np.argsort(structural)
        ordered = structural[order]
        if not (ordered[1:] > ordered[:-1]).all():  # ties share ranks
            return float(correlation(self._ranks, average_ranks(structural)))
        # Distinct scores have the ranks 1 .. n, whose variation is n (n^2 - 1) / 12.
        omega = float(self._centred[order] @ self._places) * self._scale
        return min(1.0, max(-1.0, omega))
