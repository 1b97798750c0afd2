"""Ascending arrays of distinct items as sets.

numpy's own set functions serve any array; a request has a dozen short ones that are in order
already, and spends more time in those functions' preparations than in the work itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.int32]
Places = NDArray[np.intp]


def distinct(items: Items) -> Items:
    """[m] the items of ``items`` [n], ascending, each once."""
    ordered = items.copy()
    ordered.sort()
    repeats = ordered[1:] == ordered[:-1]
    if not repeats.any():
        return ordered
    kept = np.ones(len(ordered), np.bool_)
    np.logical_not(repeats, out=kept[1:])
    return ordered[kept]


def united(one: Items, other: Items) -> Items:
    """[m] what is in ``one`` or ``other``, of any order, ascending, each item once."""
    return distinct(np.concatenate((one, other)))


def among(items: Items, some: Items) -> NDArray[np.bool_]:
    """[n] which of ``items`` [n] are in ``some`` [m], ascending."""
    if len(some) == 0:
        return np.zeros(len(items), np.bool_)
    place = some.searchsorted(items)
    place[place == len(some)] = 0
    found: NDArray[np.bool_] = some.take(place) == items
    return found


def add_at(scores: NDArray[Any], items: Items, some: Items, values: NDArray[Any]) -> None:
    """Add ``values`` [m] of ``some`` items [m] to ``scores`` [n] of ``items`` [n], in place.

    Both are ascending and distinct; items of ``some`` that are not among ``items`` add nothing.
    """
    if len(some) == 0 or len(items) == 0:
        return
    # The shorter side is looked up in the longer one: a history may be far longer than a list.
    if len(some) <= len(items):
        at = items.searchsorted(some)
        at[at == len(items)] = 0
        found = items.take(at) == some
        if found.all():
            scores[at] += values
        else:
            scores[at[found]] += values[found]
        return
    at = some.searchsorted(items)
    at[at == len(some)] = 0
    found = some.take(at) == items
    scores[found] += values.take(at[found])
