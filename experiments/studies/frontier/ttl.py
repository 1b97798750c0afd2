"""The time-to-live that meets a budget, from the times of training and validation events alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shared.interactions import InteractionLog
from shared.split import Split

HALVINGS = 40


def tuned_ttl(
    log: InteractionLog, split: Split, users: NDArray[np.int64], budget: float, *, length: int
) -> float:
    """Seconds after which ``users`` would have made ``budget`` calls per request.

    Args:
        users: whose last ``length`` events before their test steps are replayed.
        budget: calls per request, in (0, 1].
        length: of the windows the policy is tuned for; a first snapshot is free there.
    """
    times = [_past(log, int(user), int(split.test_start[user]), length) for user in users]
    low, high = 1e-3, max(float(t[-1] - t[0]) for t in times) + 1.0
    if _rate(times, low) <= budget:
        return low
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if _rate(times, middle) > budget:
            low = middle
        else:
            high = middle
    return high


def _past(log: InteractionLog, user: int, stop: int, length: int) -> NDArray[np.float64]:
    start = int(log.user_start[user])
    first = max(0, stop - length)
    if log.time is None:
        return np.arange(first, stop, dtype=np.float64)
    return log.time[start + first : start + stop].astype(np.float64)


def _rate(times: list[NDArray[np.float64]], ttl: float) -> float:
    """Calls per request if each user refreshes a snapshot once it is ``ttl`` old."""
    calls = requests = 0
    for moments in times:
        requests += len(moments) - 1
        held = 0
        while True:
            held = max(held + 1, int(np.searchsorted(moments, moments[held] + ttl)))
            if held >= len(moments):
                break
            calls += 1
    return calls / max(1, requests)
