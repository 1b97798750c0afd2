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


def all_true(marks: NDArray[np.bool_]) -> bool:
    """Whether all of ``marks`` [n] are; the method of that name takes several times as long."""
    return bool(np.count_nonzero(marks) == len(marks))


def distinct(items: Items) -> Items:
    """[m] the items of ``items`` [n], ascending, each once."""
    ordered = items.copy()
    ordered.sort()
    if len(ordered) < 2:
        return ordered
    first = np.empty(len(ordered), np.bool_)
    first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered if all_true(first) else ordered[first]


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
        if all_true(found):
            scores[at] += values
        else:
            scores[at[found]] += values[found]
        return
    at = some.searchsorted(items)
    at[at == len(some)] = 0
    found = some.take(at) == items
    scores[found] += values.take(at[found])
