"""RefreshIndex: what a snapshot costs now, against what it has cost on average."""

from __future__ import annotations

import math
from collections.abc import Callable

from device_runtime.refresh import RefreshState


class RefreshIndex:
    """(n + 1) s_n - (s_1 + .. + s_n) of a score s over the n requests since the last attempt.

    For a cost s that grows with age this is the Whittle index of its source: to ask where it
    reaches the price of a call is the best plan for one device, and to ask where it is highest
    nearly so for many that share the calls (Tripathi and Modiano, "A Whittle index approach to
    minimizing functions of age of information", Allerton 2019). What a snapshot has cost so far
    speaks against asking: it is gone, and the next one will cost as much while it ages.

    It begins anew with every attempt, whether that succeeded or not.

    Args:
        score: of one request; where it is NaN, the index is.
    """

    def __init__(self, score: Callable[[RefreshState], float]) -> None:
        self._score = score
        self._sum = 0.0
        self._count = 0

    def __call__(self, state: RefreshState) -> float:
        """The index at this request; to be asked once per request."""
        if state.requests_since_attempt <= 1:
            self._sum, self._count = 0.0, 0
        value = self._score(state)
        if not math.isfinite(value):
            return math.nan
        self._sum += value
        self._count += 1
        # One more than n: a fresh snapshot costs nothing, at age 0.
        return (self._count + 1) * value - self._sum
