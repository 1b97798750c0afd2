"""Scores that add up over the requests a snapshot has answered."""

from __future__ import annotations

import math

from device_runtime.refresh.budgeted import Accumulated, RefreshIndex, drift_score
from device_runtime.refresh.policy import RefreshState


def state(since_attempt: int, drift: float) -> RefreshState:
    return RefreshState(
        requests_since_attempt=since_attempt,
        has_snapshot=True,
        in_flight=False,
        delta=since_attempt,
        omega=0.0,
        drift=drift,
        r=0.5,
    )


def test_scores_add_up_until_the_next_attempt() -> None:
    score = Accumulated(drift_score)
    assert [score(state(n, 0.5)) for n in (1, 2, 3)] == [0.5, 1.0, 1.5]
    assert score(state(1, 0.25)) == 0.25  # an attempt came in between


def test_an_unknown_score_counts_for_nothing() -> None:
    score = Accumulated(drift_score)
    assert score(state(1, 2.0)) == 2.0
    assert score(state(2, math.nan)) == 2.0
    assert score(state(3, 1.0)) == 3.0


def test_a_refused_attempt_begins_anew() -> None:
    score = Accumulated(drift_score)
    score(state(1, 4.0))
    # The snapshot is as old as before, the attempt is not.
    assert (
        score(
            RefreshState(
                requests_since_attempt=1,
                has_snapshot=True,
                in_flight=False,
                delta=9,
                omega=0.0,
                drift=4.0,
                r=0.5,
            )
        )
        == 4.0
    )


def test_the_index_is_what_the_cost_rose_above_its_mean() -> None:
    index = RefreshIndex(drift_score)
    # Costs of age 0, 1, 2, .. are 0, 1, 2, ..: n (n + 1) - n (n + 1) / 2.
    assert [index(state(n, float(n))) for n in (1, 2, 3, 4)] == [1.0, 3.0, 6.0, 10.0]
    assert index(state(1, 1.0)) == 1.0
    # A cost that is high at once and then stays does not press any further.
    assert [index(state(n, 2.0)) for n in (1, 2, 3)] == [2.0, 2.0, 2.0]
    assert math.isnan(index(state(4, math.nan)))
