"""Policies over evidence: counted by hand, and blind to what comes later."""

from __future__ import annotations

import numpy as np
import pytest

from device_runtime.refresh.budgeted import Budgeted, drift_score, inconsistency_score
from device_runtime.refresh.call_budget import CallBudget
from device_runtime.refresh.policy import (
    Always,
    EveryK,
    Never,
    RefreshPolicy,
    RefreshState,
    TimeToLive,
)
from experiments.studies.frontier.drive import Shown, drive
from experiments.studies.frontier.evidence import Evidence
from experiments.studies.frontier.interleaving import interleaved
from experiments.studies.frontier.reach import on_and_off
from experiments.studies.frontier.windows import LastSteps
from shared.metrics import as_ranks

USERS, LENGTH = 6, 12


def evidence(seed: int = 0, users: int = USERS) -> Evidence:
    rng = np.random.default_rng(seed)
    square = (users, LENGTH, LENGTH)
    names = ("r", "inconsistency", "inconsistency_top")
    parts = {name: rng.random(square).astype(np.float32) for name in names}
    return Evidence(
        **parts,
        stale=as_ranks(rng.random(square)),
        calibrated=as_ranks(rng.random(square)),
        cues=rng.random((*square, 8)).astype(np.float32),
        alone=as_ranks(np.ones((users, LENGTH))),
    )


def shown(users: int = USERS) -> Shown:
    return Shown.of(evidence(users=users))


def windows(users: int = USERS) -> LastSteps:
    """Users take turns: one request each, then the next of each."""
    time = 100.0 * np.arange(LENGTH) + np.arange(users)[:, None]
    return LastSteps(np.arange(users), np.full(users, 5), LENGTH, time)


ORDER = windows().order


def test_every_k_asks_when_counted_by_hand() -> None:
    course = drive([EveryK(4) for _ in range(USERS)], shown(), windows(), ORDER)
    assert np.flatnonzero(course.asked[0]).tolist() == [4, 8]
    # A refresh takes effect at the next request.
    assert course.held[0].tolist() == [0, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8]
    assert (course.asked == course.asked[0]).all()


def test_the_ends_are_never_and_always() -> None:
    never = drive([Never()] * USERS, shown(), windows(), ORDER)
    always = drive([Always()] * USERS, shown(), windows(), ORDER)
    assert not never.asked.any()
    assert not never.held.any()
    assert always.asked[:, 1:].all()
    assert always.held[0, 1:].tolist() == list(range(LENGTH - 1))


def test_an_outcome_is_what_the_held_snapshot_gave() -> None:
    found = evidence()
    course = drive([EveryK(4) for _ in range(USERS)], Shown.of(found), windows(), ORDER)
    outcome = course.outcome(found.stale)
    assert outcome.shape == (USERS, LENGTH - 1)
    assert outcome[2, 5] == found.stale[2, 6, 4]  # request 6, the snapshot of request 4


def test_refused_attempts_leave_the_snapshot_and_count() -> None:
    up = np.ones((USERS, LENGTH), np.bool_)
    up[:, 4] = False
    course = drive([EveryK(4) for _ in range(USERS)], shown(), windows(), ORDER, up)
    assert np.flatnonzero(course.asked[0]).tolist() == [4, 8]
    assert np.flatnonzero(course.served[0]).tolist() == [8]
    assert course.held[0].tolist() == [0] * 9 + [8] * 3


def test_time_to_live_reads_the_logs_clock() -> None:
    course = drive([TimeToLive(250.0) for _ in range(USERS)], shown(), windows(), ORDER)
    assert np.flatnonzero(course.asked[0]).tolist() == [3, 6, 9]


def test_a_budget_is_met() -> None:
    users = 300
    shared = CallBudget(0.2, np.random.default_rng(0), window=1024, tolerance=0.05)
    policies = [Budgeted(drift_score, shared) for _ in range(users)]
    course = drive(policies, shown(users=users), windows(users), windows(users).order)
    assert course.asked[:, 1:].mean() == pytest.approx(0.2, rel=0.1)


def test_aligned_users_keep_their_own_order() -> None:
    order = interleaved(windows(), "users")
    assert sorted(order.tolist()) == list(range(USERS * LENGTH))
    user, step = np.divmod(order, LENGTH)
    for one in range(USERS):
        assert step[user == one].tolist() == list(range(LENGTH))
    # All users make their j-th request before any makes the one after the next.
    assert np.diff(step).min() >= -1
    by_clock = interleaved(windows(), "none")
    assert np.all(np.diff(windows().time_s.ravel()[by_clock]) >= 0)


class Watching:
    """Asks by one score, and keeps all it was shown."""

    compares_rankings = True

    def __init__(self) -> None:
        self.shown: list[RefreshState] = []

    def wants_refresh(self, state: RefreshState) -> bool:
        self.shown.append(state)
        return inconsistency_score(state) > 0.6


@pytest.mark.parametrize("cut", [2, 5, 9])
def test_what_comes_later_changes_no_decision(cut: int) -> None:
    """Evidence of all requests from ``cut`` on is replaced; outcomes of all requests are."""
    first, other = evidence(0), evidence(1)
    mixed = {}
    for name in ("stale", "calibrated", "cues", "r", "inconsistency", "inconsistency_top"):
        past, future = getattr(first, name), getattr(other, name)
        mixed[name] = np.concatenate([past[:, :cut], future[:, cut:]], axis=1)
    mixed["stale"], mixed["calibrated"] = other.stale, other.calibrated
    later = Evidence(**mixed, alone=other.alone)

    def driven(found: Evidence) -> tuple[np.ndarray, list[list[RefreshState]]]:
        watching: list[Watching] = [Watching() for _ in range(USERS)]
        policies: list[RefreshPolicy] = list(watching)
        return drive(policies, Shown.of(found), windows(), ORDER).asked, [w.shown for w in watching]

    (asked, shown), (again, shown_again) = driven(first), driven(later)
    assert np.array_equal(asked[:, :cut], again[:, :cut])
    assert asked[:, cut:].any()
    assert not np.array_equal(asked, again)
    for one, two in zip(shown, shown_again, strict=True):
        assert one[: cut - 1] == two[: cut - 1]


def test_connections_come_and_go_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    up = on_and_off(400, 500, availability=0.75, mean_outage=5.0, rng=rng)
    assert up.mean() == pytest.approx(0.75, abs=0.01)
    ends = (~up[:, :-1] & up[:, 1:]).sum()
    assert (~up[:, :-1]).sum() / ends == pytest.approx(5.0, rel=0.05)
