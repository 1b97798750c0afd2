"""How long fresh snapshots stayed away after faults."""

from __future__ import annotations

import polars as pl
import pytest

from loadtest.history.history import Expected
from loadtest.scenarios.verdict import longest_recovery_s

QUIET = ((10.0, 12.0), (20.0, float("inf")))  # faults before 10 s and from 12 to 20 s


def recovery(*refreshes: tuple[str, float, float]) -> float | None:
    frame = pl.DataFrame(
        refreshes, ["outcome", "started_s", "finished_s"], orient="row", infer_schema_length=None
    )
    expected = Expected(
        due={}, bundle_id="b", gamma_max=1.0, deadline_s=5.0, breaker_open_s=5.0, quiet=QUIET
    )
    return longest_recovery_s(frame, expected)


def test_recovery_is_the_longest_wait_for_a_fresh_snapshot() -> None:
    quick, slow = ("fresh", 10.5, 10.75), ("fresh", 21.0, 23.0)
    assert recovery(quick, ("fresh", 20.5, 20.5)) == pytest.approx(0.75)
    assert recovery(quick, ("breaker", 20.0, 20.0), slow) == pytest.approx(3.0)


def test_the_next_fault_does_not_count_as_time_to_recover() -> None:
    assert recovery(("network", 11.0, 11.5), ("fresh", 20.5, 21.0)) == pytest.approx(2.0 + 1.0)


def test_nobody_asked_or_nothing_came() -> None:
    assert recovery(("fresh", 1.0, 2.0)) is None
    assert recovery(("network", 21.0, 22.0)) is None
