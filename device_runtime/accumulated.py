"""Accumulated: a score added up over the requests that a snapshot has answered."""

from __future__ import annotations

import math
from collections.abc import Callable

from device_runtime.refresh import RefreshState


class Accumulated:
    """Sum of a score over the requests since the last attempt; one device's own.

    A score of the present request says what a refresh would have been worth to it. What a refresh
    costs is paid once, what an old snapshot costs at every request, and the sum is what it has
    cost so far. To ask once the sum reaches the price of a call is the rule for acknowledging in
    time under a dynamic load, never worse than twice the best plan made in hindsight (Dooly,
    Goldman and Scott, JACM 48(2), 2001); where the cost grows in proportion to age it is the best
    plan. The sum also rises steadily where the score itself is noisy, so refreshes stay spaced.

    It begins anew with every attempt, whether that succeeded or not: an outage does not turn into
    an attempt per request.

    Args:
        score: of one request; NaN counts for nothing.
    """

    def __init__(self, score: Callable[[RefreshState], float]) -> None:
        self._score = score
        self._sum = 0.0

    def __call__(self, state: RefreshState) -> float:
        """The sum, this request included; to be asked once per request."""
        if state.requests_since_attempt <= 1:
            self._sum = 0.0
        value = self._score(state)
        if math.isfinite(value):
            self._sum += value
        return self._sum
