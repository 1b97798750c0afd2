"""Tables of the replay."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from reports import text
from reports.page.tables.table import (
    Row,
    Table,
    TableCell,
    difference_cells,
    difference_name,
    metric_cells,
    metric_heads,
    replay_name,
)
from reports.summary.model import SystemSection
from shared.statistics import Estimate


def system_table(system: SystemSection) -> Table:
    """All scorers over all requests of the replay."""
    return Table(
        title="The replay, all requests",
        caption=_replay(system),
        heads=("Scorer",),
        columns=metric_heads(),
        rows=tuple(
            Row(
                (replay_name(row.scorer, collaborative=system.collaborative),),
                metric_cells(row.metrics),
            )
            for row in system.scores
            if row.by == "all"
        ),
    )


def system_group_table(system: SystemSection) -> Table:
    """NDCG@10 of every scorer by kind of target, source, cloud state and snapshot age."""
    scorers = list(dict.fromkeys(row.scorer for row in system.scores))
    groups: dict[tuple[str, str], dict[str, Estimate]] = {}
    for row in system.scores:
        if row.by != "all":
            groups.setdefault((row.by, row.group), {})[row.scorer] = row.metrics["ndcg@10"]
    return Table(
        title="The replay by group, NDCG@10",
        caption=_replay(system),
        heads=("Group",),
        columns=(
            "Requests",
            *(replay_name(s, collaborative=system.collaborative) for s in scorers),
        ),
        rows=tuple(
            Row(
                (_group(by, group),),
                (
                    TableCell(f"{row[scorers[0]].count:,}"),
                    *(TableCell(text.score(row[s].value), text.interval(row[s])) for s in scorers),
                ),
                group=by,
            )
            for (by, group), row in groups.items()
        ),
    )


def system_difference_table(system: SystemSection) -> Table:
    name = partial(replay_name, collaborative=system.collaborative)
    return Table(
        title="The replay, paired differences",
        caption="Differences on the same requests. " + _replay(system),
        heads=("Group", "Difference"),
        columns=metric_heads(),
        rows=tuple(
            Row(
                (_group(row.by, row.group), difference_name(row.minuend, row.subtrahend, name)),
                difference_cells(row.metrics),
                group=row.by + row.group,
            )
            for row in system.differences
        ),
    )


def latency_table(system: SystemSection) -> Table:
    """Percentiles of requests and refreshes."""
    clock = "measured on the wall clock" if system.clock == "wall" else "of the virtual clock"
    return Table(
        title="Latency in milliseconds",
        caption=f"Nearest-rank percentiles, {clock}. From the scheduled time: what a user waits, "
        "queueing in the device included (no coordinated omission). From the actual start: the "
        "device's own work. A request never waits for a refresh.",
        heads=("What",),
        columns=("Count", "Mean", "p50", "p90", "p95", "p99", "Max"),
        rows=tuple(
            Row(
                (row.what,),
                (
                    TableCell(f"{row.count:,}"),
                    *(
                        TableCell(text.milliseconds(value))
                        for value in (row.mean, row.p50, row.p90, row.p95, row.p99, row.max)
                    ),
                ),
                group=row.what.split(",")[0],
            )
            for row in system.latency
        ),
    )


def cloud_table(system: SystemSection) -> Table:
    """What the cloud was asked for."""
    cloud = system.cloud
    per_request = cloud.requests or 1
    lines: Iterable[tuple[str, str, str]] = (
        ("device requests", f"{cloud.requests:,}", ""),
        ("refreshes the policy asked for", f"{cloud.refreshes:,}", system.policy),
        (
            "refreshes per request",
            text.number(cloud.refreshes_per_request, 3),
            "retries do not count"
            if system.budget is None
            else f"budget {system.budget:g}; retries do not count",
        ),
        (
            "answered with a snapshot",
            f"{cloud.answered:,}",
            f"{text.number(cloud.answered_per_request, 3)} per request",
        ),
        (
            "held back, never sent",
            f"{cloud.held_back:,}",
            "the breaker was open; the policy had asked, so they count as asked",
        ),
        (
            "asked by devices without any snapshot",
            f"{cloud.first:,}",
            "first snapshots are charged to the budget like any other",
        ),
        (
            "HTTP calls, retries included",
            f"{cloud.calls:,}",
            f"{cloud.warm_up_calls:,} more before the first request",
        ),
        (
            "calls saved",
            text.percent(cloud.saved, 1),
            "against one call per request, by the policy"
            if cloud.saved is not None
            else "not known, as the cloud did not answer as planned",
        ),
        ("cloud work per 1,000 requests", text.cost(cloud.cost), "without the warm-up"),
        (
            "bytes up",
            text.size(cloud.bytes_up),
            f"{cloud.bytes_up / per_request:,.0f} B per request",
        ),
        (
            "bytes down",
            text.size(cloud.bytes_down),
            f"{cloud.bytes_down / per_request:,.0f} B per request",
        ),
        ("refused by the cloud", f"{cloud.refused:,}", "429 with Retry-After"),
        (
            "requests with the breaker not closed",
            text.percent(cloud.breaker_open_requests, 1),
            f"{text.seconds(cloud.breaker_open_s)} summed over devices",
        ),
        *(
            (f"refreshes that ended: {name}", f"{count:,}", "")
            for name, count in cloud.outcomes.items()
        ),
    )
    return Table(
        title="Calls, bytes and refusals",
        caption=f"During the replay of {text.seconds(system.duration_s)}; cloud availability: "
        f"{system.availability}.",
        heads=("What",),
        columns=("Value", "Note"),
        rows=tuple(
            Row((what,), (TableCell(value), TableCell(note))) for what, value, note in lines
        ),
    )


def _replay(system: SystemSection) -> str:
    return (
        f"Refresh policy {system.policy}; cloud availability: {system.availability}. "
        + text.scope(system.scope)
    )


def _group(by: str, group: str) -> str:
    return f"snapshot {group} events old" if by == "delta" else group
