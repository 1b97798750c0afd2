"""Inconsistency: how far the device's own ranking has moved from the cloud's (LSC4Rec)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def inconsistency(
    initial: NDArray[np.int32], items: NDArray[np.int32], scores: NDArray[np.float32]
) -> float:
    """Mean |position in the cloud's ranking - position in the device's| (LSC4Rec eq. 11).

    Args:
        initial: [n] int32 cached candidates in the cloud's order, best first.
        items: [m] int32 items the device ranked, ascending.
        scores: [m] their structural scores: the device's own ranking, the snapshot left out.

    Returns:
        In positions, over those candidates that the device ranked (a repeat policy may have left
        some out); ties go to the cloud's order. NaN if there are none.
    """
    place = np.searchsorted(items, initial)
    known = place < len(items)
    known[known] = items[place[known]] == initial[known]
    place = place[known]
    if len(place) == 0:
        return math.nan
    order = np.argsort(-scores[place], kind="stable")  # order[new position] = old position
    return float(np.abs(order - np.arange(len(order))).mean())
