"""k-means (Lloyd), small enough to be the same everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 25


def kmeans(
    points: NDArray[np.float64], k: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centres [k, m] and the centre of each point [n]; k falls to n where there are fewer points.

    Starts from k points drawn without replacement. A centre that loses all its points moves to
    the point farthest from its own centre.
    """
    k = min(k, len(points))
    centres = points[rng.choice(len(points), k, replace=False)].copy()
    own = np.zeros(len(points), dtype=np.int64)
    for _ in range(ROUNDS):
        # |p - c|^2 without |p|^2, which no choice of c changes.
        distance = (centres**2).sum(1) - 2.0 * points @ centres.T
        nearest = distance.argmin(1)
        if np.array_equal(nearest, own) and _ > 0:
            break
        own = nearest
        counts = np.bincount(own, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, own, points)
        filled = counts > 0
        centres[filled] = sums[filled] / counts[filled, None]
        empty = np.flatnonzero(~filled)
        if len(empty):
            apart = distance[np.arange(len(points)), own] + (points**2).sum(1)
            centres[empty] = points[np.argsort(-apart, kind="stable")[: len(empty)]]
    return centres, own
