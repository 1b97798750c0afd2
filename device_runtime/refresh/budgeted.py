"""Budgeted: a wanted share of requests asks the cloud, those where a score says it matters most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from device_runtime.refresh.policy import RefreshState

Score = Callable[[RefreshState], float]


def no_score(state: RefreshState) -> float:
    """All requests alike: the budget falls on random ones."""
    return 0.0


def drift_score(state: RefreshState) -> float:
    """|e_str(t) - e_str(tau)|: how far the user has moved since the snapshot."""
    return state.drift


def unreliability_score(state: RefreshState) -> float:
    """1 - r: how little SCaLRec's estimator (arXiv 2601.22543) trusts the snapshot."""
    return 1.0 - state.r


def inconsistency_score(state: RefreshState) -> float:
    """LSC4Rec eq. 11: how far the device's ranking is from the cloud's."""
    return state.inconsistency


def top_inconsistency_score(state: RefreshState) -> float:
    """The same among the first places of either ranking: the tail is noise to an answer."""
    return state.inconsistency_top


class Budget(Protocol):
    """Says at which requests the cloud may be asked, so that a wanted share of them does.

    A device's own, or one that all devices of a fleet share: their scores are then ranked together
    and their calls go to one account.
    """

    def decide(self, score: float, *, able: bool = True) -> bool:
        """Whether to ask at this request; to be asked once per request.

        Args:
            score: the higher, the more a call is worth. NaN: unknown; infinite: there is no
                snapshot yet.
            able: False if no call can be made now; the request counts all the same.
        """
        ...


@dataclass(frozen=True, slots=True)
class Budgeted:
    """The requests with the highest score ask, as many as the device's budget allows.

    LSC4Rec (arXiv 2501.05647, eq. 12) compares the score with its quantile on training data; here
    the quantile is found and kept online. Without a snapshot a request asks as soon as the budget
    is not overdrawn, and is charged like any other: a device of its own budget at its first
    request, one of a fleet in its turn, and neither at every request while the cloud cannot be
    reached.

    Attributes:
        score: of a request, from the device's state; NaN where it is unknown.
        budget: this device's own, or its fleet's.
        compares_rankings: whether ``score`` needs the inconsistency.
    """

    score: Score
    budget: Budget
    compares_rankings: bool = False

    def wants_refresh(self, state: RefreshState) -> bool:
        if state.requests_since_attempt == 0:
            # No request to charge it to: a first snapshot before the first request is free.
            return not state.has_snapshot and not state.in_flight
        score = self.score(state) if state.has_snapshot else math.inf
        return self.budget.decide(score, able=not state.in_flight)


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

    def __init__(self, score: Score) -> None:
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

    def __init__(self, score: Score) -> None:
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
