"""Choosing between ways of scoring by what each is worth on the same held-out requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


def ahead(gain: NDArray[np.float64], users: NDArray[np.int64], *, margin: float) -> bool:
    """Whether the mean of paired gains [P] is above ``margin`` of its standard errors.

    Users [P] are the clusters of the standard error.
    """
    mean = gain.mean()
    spread = np.bincount(np.unique(users, return_inverse=True)[1], weights=gain - mean)
    return bool(mean > margin * np.sqrt((spread**2).sum()) / len(gain))


def best_if_ahead(
    choices: Sequence[tuple[T, NDArray[np.float64]]],
    off: NDArray[np.float64],
    users: NDArray[np.int64],
    *,
    margin: float,
) -> T | None:
    """The choice with the best mean score; None unless that is ahead of ``off`` [P]."""
    if not len(off):
        return None
    value, scores = max(choices, key=lambda choice: float(choice[1].mean()))
    return value if ahead(scores - off, users, margin=margin) else None
