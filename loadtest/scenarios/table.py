"""Scenarios side by side: the record that docs keep, and its tables."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from loadtest.scenarios.verdict import ScenarioVerdict
from shared.errors import DataError
from shared.strict import Strict

Table = tuple[tuple[str, ...], list[tuple[str, ...]], str]

_RATE_STEP_S = 5
_BARS = " ▁▂▃▄▅▆▇█"


class ScenarioRecord(Strict):
    """Verdicts of several scenarios that ran on the same log and bundle.

    Attributes:
        log, bundle_id, embedder: what they ran on.
        revision: commit of the code.
    """

    log: str
    bundle_id: str
    embedder: str
    revision: str | None
    verdicts: tuple[ScenarioVerdict, ...]

    def merged(self, newer: ScenarioRecord) -> ScenarioRecord:
        """``newer``, with the verdicts it lacks from this one if both ran on the same bundle."""
        if self.bundle_id != newer.bundle_id:
            return newer
        fresh = {(v.scenario, v.place): v for v in newer.verdicts}
        kept = [v for v in self.verdicts if (v.scenario, v.place) not in fresh]
        ordered = sorted([*kept, *fresh.values()], key=lambda v: (v.place, v.scenario))
        return newer.model_copy(update={"verdicts": tuple(ordered)})


def read_scenario_record(text: str) -> ScenarioRecord:
    """Parse a record; raises DataError."""
    try:
        return ScenarioRecord.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"not a record of scenarios: {error}") from error


def scenario_rows(record: ScenarioRecord) -> Table:
    """One row per scenario and place: head, rows, caption."""
    head = (
        "scenario", "where", "answered", "stale", "NDCG@10", "cached as it is", "own score",
        "p50 / p95 / p99, ms", "refresh p50 / p99, ms", "cloud calls", "refused", "recovery, s",
        "history",
    )  # fmt: skip
    rows = [_row(verdict) for verdict in record.verdicts]
    caption = (
        f"Log {record.log}, embedder {record.embedder}, bundle {record.bundle_id}. Stale: answers "
        "whose snapshot was more than k requests old, or that had none. Each scenario draws its "
        "own devices, so NDCG@10 compares the columns of a row, not its rows. Latency from the "
        "scheduled time of each request; on the virtual clock computing takes no time, so there "
        "is none. Recovery: longest time from a fault's end to the next fresh snapshot of the "
        "fleet, less what further faults took of it. History: what the checker found."
    )
    return head, rows, caption


def refresh_rate_rows(record: ScenarioRecord) -> Table:
    """HTTP requests per second over time, of the scenarios in which a herd could form."""
    rows: list[tuple[str, ...]] = []
    head = ("scenario", "where", f"requests to the cloud, per {_RATE_STEP_S} s", "most in 1 s")
    for verdict in record.verdicts:
        if verdict.scenario not in ("steady", "thundering-return", "flash-crowd"):
            continue
        rate = verdict.refresh_rate
        steps = [sum(rate[n : n + _RATE_STEP_S]) for n in range(0, len(rate), _RATE_STEP_S)]
        top = max(steps, default=0.0) or 1.0
        bars = "".join(_BARS[round(step / top * (len(_BARS) - 1))] for step in steps)
        most = f"{max(rate, default=0.0):.0f}"
        rows.append((verdict.scenario, verdict.place, f"`{bars}` (top {top:.0f})", most))
    caption = "Each bar is five seconds, from the start of the window to its end."
    return head, rows, caption


def _row(verdict: ScenarioVerdict) -> tuple[str, ...]:
    wall = verdict.place != "virtual clock"
    times: Sequence[float | None] = (verdict.p50_ms, verdict.p95_ms, verdict.p99_ms)
    waits = (verdict.refresh_p50_ms, verdict.refresh_p99_ms)
    return (
        verdict.scenario,
        verdict.place,
        f"{verdict.answered:,} of {verdict.due:,}",
        f"{verdict.stale_share:.1%}",
        f"{verdict.ndcg:.4f}",
        f"{verdict.ndcg_uncalibrated:.4f}",
        f"{verdict.ndcg_structure:.4f}",
        " / ".join("–" if t is None else f"{t:.2f}" for t in times) if wall else "–",
        " / ".join("–" if t is None else f"{t:.0f}" for t in waits),
        f"{verdict.cloud_calls:,}",
        f"{verdict.refused:,}",
        "–" if verdict.recovery_s is None else f"{verdict.recovery_s:.1f}",
        _history(verdict),
    )


def _history(verdict: ScenarioVerdict) -> str:
    if verdict.violations:
        return f"{len(verdict.violations)} contradictions"
    return "not as planned" if verdict.failures else "holds"
