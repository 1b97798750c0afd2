"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping

from reports import text
from reports.page.tables.table import Row, Table, TableCell, difference_cell
from reports.summary.latency import SCHEDULED
from reports.summary.model import SystemSection
from shared.statistics import Estimate

Runs = Mapping[str, SystemSection]


def answers_table(runs: Runs) -> Table:
    """One row per run: how well it answered, and from how old a snapshot."""
    return Table(
        title="How well they answered",
        caption="95 % intervals, bootstrap over users. Over cached as it is and over no cloud (in "
        "older runs, over the own score on the same candidates): paired differences on the same "
        "requests. Stale: answers from a snapshot that is more than five events old.",
        heads=("Run",),
        columns=(
            "Cloud there", "Requests", "NDCG@10", "Over cached as it is", "Over no cloud",
            "From a snapshot", "Stale",
        ),
        rows=tuple(Row((name,), _answers(system)) for name, system in runs.items()),
    )  # fmt: skip


def costs_table(runs: Runs) -> Table:
    """One row per run: how fast it answered, and what it asked of the cloud."""
    return Table(
        title="How fast, and what they asked of the cloud",
        caption="Latency from the scheduled time, on the wall clock only. Calls saved: against "
        "one call per request. Failed: refreshes that brought no snapshot; refused ones are "
        "among them.",
        heads=("Run",),
        columns=(
            "Policy", "p50, ms", "p95, ms", "p99, ms", "Refreshes per request", "Calls saved",
            "Failed", "Refused",
        ),
        rows=tuple(Row((name,), _costs(system)) for name, system in runs.items()),
    )  # fmt: skip


def _answers(system: SystemSection) -> tuple[TableCell, ...]:
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
    return (
        TableCell(text.percent(system.cloud_up, 1)),
        TableCell(f"{total:,}"),
        TableCell(text.score(answered.value), text.interval(answered)),
        _gain(gains.get("uncalibrated")),
        _gain(gains.get("alone", gains.get("structure"))),
        TableCell(text.percent(system.sources.get("snapshot", 0) / total, 1)),
        TableCell(text.percent(old / total, 1)),
    )


def _costs(system: SystemSection) -> tuple[TableCell, ...]:
    cloud = system.cloud
    latency = next((row for row in system.latency if row.what == SCHEDULED), None)
    wall = latency if system.clock == "wall" else None
    brought = cloud.outcomes.get("fresh", 0) + cloud.outcomes.get("stale", 0)
    return (
        TableCell(system.policy),
        *(
            TableCell(text.milliseconds(None if wall is None else getattr(wall, name)))
            for name in ("p50", "p95", "p99")
        ),
        TableCell(text.number(cloud.refreshes_per_request, 3)),
        TableCell(text.percent(cloud.saved, 1)),
        TableCell(f"{cloud.refreshes - brought:,}"),
        TableCell(f"{cloud.refused:,}"),
    )


def _gain(estimate: Estimate | None) -> TableCell:
    return TableCell(text.NONE) if estimate is None else difference_cell(estimate)
