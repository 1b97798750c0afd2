"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.report import text
from loadtest.report.tables.table import Cell, Row, Table, difference_cell
from loadtest.summary.latency import SCHEDULED
from loadtest.summary.model import Estimate, Summary, SystemSection


def comparison_table(runs: Mapping[str, tuple[Summary, SystemSection]]) -> Table:
    """One row per run: what it was, how well it answered, how fast, and what the cloud did."""
    return Table(
        "The runs side by side",
        "NDCG@10 with 95 % intervals, bootstrap over users. Calibration and structure: paired "
        "differences of the answer on the same requests. Latency from the scheduled time, on the "
        "wall clock only. Stale: answers from a snapshot that is more than five events old.",
        ("Run",),
        (
            "Policy", "Cloud there", "Requests", "NDCG@10", "Over uncalibrated", "Over structure",
            "From a snapshot", "Stale", "p50, ms", "p95, ms", "p99, ms", "Calls saved", "Refused",
        ),
        tuple(Row((name,), _cells(system)) for name, (_, system) in runs.items()),
    )  # fmt: skip


def _cells(system: SystemSection) -> tuple[Cell, ...]:
    scores = {(s.by, s.group, s.scorer): s.metrics["ndcg@10"] for s in system.scores}
    answered = scores["all", "all requests", "answered"]
    gains = {
        d.subtrahend: d.metrics["ndcg@10"]
        for d in system.differences
        if (d.by, d.minuend) == ("all", "answered")
    }
    total = system.scope.requests
    old = sum(
        scores["delta", age, "answered"].count
        for age in ("6-10", "11+")
        if ("delta", age, "answered") in scores
    )
    latency = next((row for row in system.latency if row.what == SCHEDULED), None)
    wall = latency if system.clock == "wall" else None
    return (
        Cell(system.policy),
        Cell(text.percent(system.cloud_up, 1)),
        Cell(f"{total:,}"),
        Cell(text.score(answered.value), text.interval(answered)),
        _gain(gains.get("uncalibrated")),
        _gain(gains.get("structure")),
        Cell(text.percent(system.sources.get("snapshot", 0) / total, 1)),
        Cell(text.percent(old / total, 1)),
        *(
            Cell(text.milliseconds(None if wall is None else getattr(wall, name)))
            for name in ("p50", "p95", "p99")
        ),
        Cell(text.percent(system.cloud.saved, 1)),
        Cell(f"{system.cloud.refused:,}"),
    )


def _gain(estimate: Estimate | None) -> Cell:
    return Cell(text.NONE) if estimate is None else difference_cell(estimate)
