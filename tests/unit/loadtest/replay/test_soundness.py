"""What a replay's counts say against it."""

from __future__ import annotations

import pytest

from loadtest.replay.replay import ReplayResult
from loadtest.replay.soundness import replay_failures, replay_notes


def result(up: dict[str, int], **counts: int) -> ReplayResult:
    """A replay whose refreshes ended so while the cloud was meant to be there."""
    same = {"users": 1, "requests": 100, "from_snapshot": 0, "refreshes": sum(up.values())}
    return ReplayResult(
        **same | {"failed_refreshes": 0, "skipped_refreshes": 0, "cancelled_refreshes": 0} | counts,
        window_s=10.0,
        speed_up=None,
        outages=(),
        state_kib=1.0,
        elapsed_s=1.0,
        outcomes=up,
        outcomes_up=up,
    )


@pytest.mark.parametrize(
    "up",
    [
        {},
        {"fresh": 80},
        {"fresh": 70, "unstored": 10},
        {"fresh": 60, "stale": 10, "network": 5, "breaker": 20, "deadline": 5},
        {"fresh": 20, "refused: overloaded": 60},
        {"fresh": 79, "rejected: snapshot": 1},
    ],
)
def test_what_load_and_short_troubles_leave_is_no_failure(up: dict[str, int]) -> None:
    assert replay_failures(result(up)) == []


@pytest.mark.parametrize(
    ("up", "words"),
    [
        ({"network": 3, "breaker": 57}, "no refresh brought a snapshot"),
        ({"refused: overloaded": 9}, "no refresh brought a snapshot"),
        ({"fresh": 79, "rejected: bundle-mismatch": 1}, "serves another bundle"),
        ({"fresh": 30, "rejected: unauthenticated": 30}, "does not accept the devices' tokens"),
        ({"fresh": 30, "rejected: forbidden": 30}, "does not accept the devices' tokens"),
        ({"fresh": 30, "rejected: token": 1}, "had no token"),
        ({"fresh": 30, "rejected: invalid-request": 1}, "rejected as invalid-request"),
        ({"unstored": 80}, "took none of 80 fresh snapshots"),
        ({"fresh": 54, "stale": 26}, "could not compute 26 of 80"),
        ({"fresh": 54, "stale": 6, "server: embedder-mismatch": 20}, "could not compute 26 of 80"),
    ],
)
def test_what_makes_figures_wrong_is_told(up: dict[str, int], words: str) -> None:
    failures = replay_failures(result(up))
    assert any(words in failure for failure in failures), failures


def test_notes_count_every_outcome_that_is_not_usual() -> None:
    assert replay_notes(result({"fresh": 80, "network": 3, "breaker": 9})) == []
    [note] = replay_notes(result({"fresh": 54, "stale": 26}))
    assert "54 fresh, 26 stale" in note
    skipped, cancelled = replay_notes(result({}, skipped_refreshes=1200, cancelled_refreshes=2))
    assert "1,200 refreshes were skipped" in skipped
    assert "2 refreshes were still in flight" in cancelled
