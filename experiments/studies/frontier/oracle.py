"""Upper bounds: the best refreshes for those who know every outcome in advance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.studies.frontier.drive import Course

Float = NDArray[np.float64]
BISECTIONS = 60


def best_under_price(values: Float, price: float) -> Course:
    """The refreshes of each user that maximise the sum of values minus ``price`` per call; exact.

    Dynamic programming from the end: with a snapshot of request i, the next refresh comes after
    some later request n, or never.

    Args:
        values: [U, T, T] of request j with a snapshot of request i <= j.
    """
    total, users = _totals(values), np.arange(len(values))
    length = values.shape[1]
    ahead = np.zeros((len(values), length))  # best that is still to come after a refresh at i
    follow = np.full((len(values), length), -1)
    for i in range(length - 2, -1, -1):
        best = total[:, length - 1, i] - total[:, i, i]  # no further refresh
        if i + 1 < length - 1:
            later = np.arange(i + 1, length - 1)  # a refresh after the last request serves nobody
            options = total[:, later, i] - total[:, i, i, None] - price + ahead[:, later]
            place = options.argmax(1)
            found = options[users, place]
            better = found > best  # of equals the one with fewer calls
            best = np.where(better, found, best)
            follow[better, i] = later[place[better]]
        ahead[:, i] = best
    return _course(_walked(follow))


def best_with_calls(values: Float, calls: int) -> Course:
    """The best refreshes of each user with at most ``calls`` of them; exact."""
    total, users = _totals(values), np.arange(len(values))
    length = values.shape[1]
    ahead = total[:, length - 1, :] - np.diagonal(total, axis1=1, axis2=2)  # no further call
    follows = []
    for _ in range(calls):
        better, follow = ahead.copy(), np.full((len(values), length), -1)
        for i in range(length - 2):
            later = np.arange(i + 1, length - 1)
            options = total[:, later, i] - total[:, i, i, None] + ahead[:, later]
            place = options.argmax(1)
            found = options[users, place]
            more = found > better[:, i]
            better[more, i] = found[more]
            follow[more, i] = later[place[more]]
        ahead = better
        follows.append(follow)
    asked = np.zeros(values.shape[:2], dtype=np.bool_)
    at = np.zeros(len(values), dtype=np.int64)
    for follow in reversed(follows):  # the last one found has the most calls left
        following = follow[users, at]
        going = following >= 0
        asked[users[going], following[going]] = True
        at = np.where(going, following, at)  # else the plan is that with a call less
    return _course(asked)


def best_of_fleet(values: Float, calls: int) -> Course:
    """The best refreshes of all users together with about ``calls`` calls, at most.

    One price for every call: the concave hull of what can be reached, which for many users all
    but touches every number of calls.
    """
    free = best_under_price(values, 0.0)
    if int(free.asked.sum()) <= calls:
        return free
    low, high = 0.0, float(np.nanmax(values)) * values.shape[1] + 1.0
    best = best_under_price(values, high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        found = best_under_price(values, middle)
        if int(found.asked.sum()) <= calls:
            high, best = middle, found
        else:
            low = middle
        if int(best.asked.sum()) == calls:
            break
    return best


def _totals(values: Float) -> Float:
    """[U, T, T] sums of the requests 0 .. j with each snapshot."""
    return np.cumsum(np.nan_to_num(values), axis=1)


def _walked(follow: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[U, T] bool from the request of each refresh to that of the next one (-1: none)."""
    users = np.arange(len(follow))
    asked = np.zeros(follow.shape, dtype=np.bool_)
    at = np.zeros(len(follow), dtype=np.int64)
    while True:
        following = follow[users, at]
        going = following >= 0
        if not going.any():
            return asked
        asked[users[going], following[going]] = True
        at = np.where(going, following, at)
        follow = np.where(going[:, None], follow, -1)


def _course(asked: NDArray[np.bool_]) -> Course:
    """All of these attempts succeed."""
    length = asked.shape[1]
    last = np.maximum.accumulate(np.where(asked, np.arange(length), 0), axis=1)
    held = np.zeros(asked.shape, dtype=np.int64)
    held[:, 1:] = last[:, :-1]
    return Course(held, asked, asked)
