"""The figures of one scenario's run, and whether its history holds; all from the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from loadtest.faults.script import FaultScript
from loadtest.history.history import Expected, RunHistory, Violation
from loadtest.records.latency import percentiles
from loadtest.records.rank_columns import read_ranks
from loadtest.records.record_table import numbers
from loadtest.scenarios.model import Scenario
from shared.files import write_whole
from shared.metrics import ndcg
from shared.strict import Strict

VERDICT = "scenario.json"
RATE_BIN_S = 1.0

Place = Literal["virtual clock", "local processes", "given addresses"]


class ViolationText(Strict):
    """One contradiction, as the verdict prints it."""

    rule: str
    user: int
    at_s: float
    what: str


class ScenarioVerdict(Strict):
    """What a scenario's run amounted to.

    Attributes:
        place: where it ran; latencies mean something on a wall clock only.
        answered, due: requests answered, and planned.
        stale_share: share of answers whose snapshot was more than ``k`` requests old, or that had
            none: those that a cloud always there would have served better.
        local_share: share of answers without any snapshot.
        ndcg: mean NDCG@10 of the answers given; ``ndcg_uncalibrated`` and ``ndcg_structure`` of
            the two other answers to the same requests.
        p50_ms, p95_ms, p99_ms, max_ms: of requests, from their scheduled times.
        refresh_p50_ms, refresh_p99_ms: of refreshes in the window, from the request that asked for
            them: a cloud that stands still makes nobody ask later.
        cloud_calls: HTTP requests that left the devices, in the window.
        refused: those answered 429 or 503.
        failed_refreshes: refreshes that brought nothing, whatever the reason.
        recovery_s: longest time from the end of a fault to the next fresh snapshot, less what
            further faults took of it; None if there was no fault, or nobody asked after it.
        peak_rate: most HTTP requests within a second, after the first fault's end (else of all).
        refresh_rate: HTTP requests per second, one figure per second of the window.
        violations: what the checker found; empty is what is wanted.
        failures: what went wrong beside the script, in sentences.
    """

    scenario: str
    description: str
    place: Place
    seed: int
    users: int
    duration_s: float
    policy: str
    k: int
    due: int
    answered: int
    stale_share: float
    local_share: float
    ndcg: float
    ndcg_uncalibrated: float
    ndcg_structure: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    refresh_p50_ms: float | None
    refresh_p99_ms: float | None
    cloud_calls: int
    refused: int
    refreshes: int
    failed_refreshes: int
    recovery_s: float | None
    peak_rate: float
    refresh_rate: tuple[float, ...]
    state_kib: float
    violations: tuple[ViolationText, ...]
    failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Every request answered, nothing the checker could object to, nothing wrong unplanned."""
        return self.answered == self.due and not self.violations and not self.failures


def judge(
    scenario: Scenario,
    script: FaultScript,
    history: RunHistory,
    expected: Expected,
    violations: Sequence[Violation],
    *,
    place: Place,
    policy: str,
    k: int,
    state_kib: float,
    failures: Sequence[str] = (),
) -> ScenarioVerdict:
    """The verdict on a run from its history.

    Args:
        policy, k: the devices' refresh policy in words, and what counts as old.
        violations: of the checker.
        state_kib: memory of one device.
        failures: as the verdict holds them.
    """
    asked, refreshes = history.requests, history.refreshes
    in_window = history.attempts.filter(pl.col("sent_s") >= 0)
    rate = _per_second(numbers(in_window, "sent_s"), scenario.duration_s)
    ends = [fault.until_s for fault in script.faults]
    after = int(min(ends)) if ends and min(ends) < scenario.duration_s else 0
    stale = (pl.col("delta") > k) | (pl.col("source") == "local")
    latency = percentiles("request", numbers(asked, "latency_scheduled_ms"))
    begun = refreshes.filter(pl.col("started_s") >= 0)
    waits = percentiles("refresh", numbers(begun, "latency_ms"))
    return ScenarioVerdict(
        scenario=scenario.name,
        description=scenario.description,
        place=place,
        seed=scenario.seed,
        users=asked["user"].n_unique(),
        duration_s=scenario.duration_s,
        policy=policy,
        k=k,
        due=sum(expected.due.values()),
        answered=len(asked),
        stale_share=_share(asked, stale),
        local_share=_share(asked, pl.col("source") == "local"),
        ndcg=_ndcg(asked, "rank"),
        ndcg_uncalibrated=_ndcg(asked, "rank_uncalibrated"),
        ndcg_structure=_ndcg(asked, "rank_structure"),
        p50_ms=latency.p50,
        p95_ms=latency.p95,
        p99_ms=latency.p99,
        max_ms=latency.max,
        refresh_p50_ms=waits.p50,
        refresh_p99_ms=waits.p99,
        cloud_calls=len(in_window),
        refused=int(in_window["status"].is_in([429, 503]).sum()),
        refreshes=len(begun),
        failed_refreshes=len(begun.filter(~pl.col("outcome").is_in(["fresh", "stale"]))),
        recovery_s=longest_recovery_s(refreshes, expected),
        peak_rate=max(rate[after:], default=0.0),
        refresh_rate=tuple(rate),
        state_kib=state_kib,
        violations=tuple(
            ViolationText(rule=v.rule, user=v.user, at_s=v.at_s, what=v.what) for v in violations
        ),
        failures=tuple(failures),
    )


def longest_recovery_s(refreshes: pl.DataFrame, expected: Expected) -> float | None:
    """Quiet seconds until fresh snapshots flow again; see ``recovery_s`` of ScenarioVerdict.

    Args:
        refreshes: with columns outcome, started_s and finished_s.
        expected: its ``quiet`` stretches tell when faults ended.
    """
    fresh = np.sort(numbers(refreshes.filter(pl.col("outcome") == "fresh"), "finished_s"))
    started = numbers(refreshes, "started_s")
    waits = []
    for start, end in expected.quiet:
        if not np.any((started >= start) & (started < end)):
            continue
        later = fresh[fresh >= start]
        if len(later):
            waits.append(_quiet_between(start, float(later[0]), expected))
    return max(waits, default=None)


def write_verdict(run_dir: Path, verdict: ScenarioVerdict) -> Path:
    """Write scenario.json in one step; returns its path."""
    return write_whole(run_dir / VERDICT, verdict.model_dump_json(indent=1) + "\n")


def _share(asked: pl.DataFrame, which: pl.Expr) -> float:
    return len(asked.filter(which)) / len(asked) if len(asked) else 0.0


def _ndcg(asked: pl.DataFrame, column: str) -> float:
    return float(ndcg(read_ranks(asked, column), 10).mean()) if len(asked) else 0.0


def _per_second(times_s: np.ndarray, duration_s: float) -> list[float]:
    edges = np.arange(0.0, duration_s + RATE_BIN_S, RATE_BIN_S)
    counts: list[float] = (np.histogram(times_s, edges)[0] / RATE_BIN_S).tolist()
    return counts


def _quiet_between(start: float, end: float, expected: Expected) -> float:
    """Seconds of [start, end] without any fault."""
    return sum(max(0.0, min(end, until) - max(start, since)) for since, until in expected.quiet)
