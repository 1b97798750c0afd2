"""Budgeted: a wanted share of requests asks the cloud, those where a score says it matters most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from device_runtime.budget import Budget
from device_runtime.refresh import RefreshState

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


@dataclass(frozen=True, slots=True)
class Budgeted:
    """The requests with the highest score ask, as many as the device's budget allows.

    LSC4Rec (arXiv 2501.05647, eq. 12) compares the score with its quantile on training data; here
    the quantile is found and kept online. Without a snapshot a request asks
    as soon as the budget is not overdrawn, and is charged like any other: a device of its own
    budget at its first request, one of a fleet in its turn, and neither at every request while
    the cloud cannot be reached.

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
