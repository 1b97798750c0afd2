"""RememberedStates: arrays of a world's rows that are costly to make, made once.

A beam search or a text model takes milliseconds a row, and a snapshot of one moment serves requests
of many ages: without this each is computed again for every age.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.baselines.base import Rows, World

Arrays = tuple[NDArray[Any], ...]

TIMED = 20  # requests


class RememberedStates:
    """Of one fitted method; a world that is another object starts anew."""

    def __init__(self, compute: Callable[[World, Rows], Arrays]) -> None:
        """``compute`` gives arrays whose first axis is that of its rows [B]."""
        self._compute = compute
        self._world: World | None = None
        self._place = np.empty(0, dtype=np.int64)
        self._arrays: Arrays = ()

    def of(self, world: World, rows: Rows) -> Arrays:
        """The arrays at ``rows`` [B]."""
        if world is not self._world:
            self._world, self._arrays = world, ()
            self._place = np.full(len(world.requests), -1, dtype=np.int64)
        new = np.unique(rows[self._place[rows] < 0])
        if len(new):
            found = self._compute(world, new)
            known = len(self._arrays[0]) if self._arrays else 0
            self._place[new] = known + np.arange(len(new))
            self._arrays = (
                tuple(np.concatenate(both) for both in zip(self._arrays, found, strict=True))
                if self._arrays
                else found
            )
        return tuple(array[self._place[rows]] for array in self._arrays)


def histories(world: World, rows: Rows) -> list[NDArray[np.integer]]:
    """The items that each of ``rows`` [B] knows, oldest first."""
    requests = world.requests
    start = requests.events.user_start[requests.anchors.user[rows]]
    stop = start + requests.anchors.tau[rows]
    return [requests.events.item[a:b] for a, b in zip(start, stop, strict=True)]


def request_us(answer: Callable[[Rows], object], rows: Rows) -> float | None:
    """Median microseconds of ``answer`` to one row at a time, on this process; None without rows.

    Args:
        rows: of which the first TIMED are asked.
    """
    spent = []
    for place in range(min(TIMED, len(rows))):
        started = time.perf_counter()
        answer(rows[place : place + 1])
        spent.append(time.perf_counter() - started)
    return 1e6 * float(np.median(spent)) if spent else None
