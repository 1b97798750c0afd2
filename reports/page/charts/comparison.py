"""Several runs on the same axes."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt

from reports.page.charts.frame import (
    Chart,
    Record,
    by_age,
    color,
    finish,
    padded,
    reach,
    whiskers,
    y_axis,
)
from reports.page.charts.latency import cdf_lines
from reports.page.charts.replay import time_axis
from reports.summary.latency import SCHEDULED
from reports.summary.model import SystemSection

# Told apart by people who see colours differently, on light and on dark (see report.css).
RUN_COLORS = tuple(f"var(--run-{number})" for number in range(1, 9))
Runs = Mapping[str, SystemSection]


def comparison_charts(runs: Runs) -> list[Chart]:
    """NDCG against availability, over time and by snapshot age; latency distributions.

    Args:
        runs: replays by the name they are shown under, at most as many as RUN_COLORS.
    """
    legend = tuple((f"run-{number}", name) for number, name in enumerate(runs, start=1))
    made = (
        _availability(runs, legend),
        _over_time(runs, legend),
        _by_age(runs, legend),
        _latency(runs, legend),
    )
    return [chart for chart in made if chart is not None]


def _colors(runs: Runs) -> dict[str, str]:
    return dict(zip(runs, RUN_COLORS, strict=False))


def _availability(runs: Runs, legend: tuple[tuple[str, str], ...]) -> Chart | None:
    rows: list[Record] = [
        {"run": name, "up": system.cloud_up, **score.metrics["ndcg@10"].row()}
        for name, system in runs.items()
        for score in system.scores
        if (score.by, score.scorer) == ("all", "answered") and system.cloud_up is not None
    ]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return None
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "up:Q",
            title="requests that found the cloud there",
            scale=alt.Scale(domain=[0, 1], padding=8, nice=False),
            axis=alt.Axis(format=".0%", grid=False, tickCount=5),
        ),
        color=color("run:N", _colors(runs)),
        tooltip=[
            alt.Tooltip("run:N"),
            alt.Tooltip("up:Q", title="cloud there", format=".1%"),
            alt.Tooltip("value:Q", title="NDCG@10", format=".4f"),
            alt.Tooltip("low:Q", format=".4f"),
            alt.Tooltip("high:Q", format=".4f"),
        ],
    )
    chart = whiskers(base, reach(rows), ".3f", 80)
    words = "; ".join(f"{r['run']}: {r['up']:.0%} there, NDCG {r['value']:.4f}" for r in rows)
    return Chart(
        id="compare-availability",
        title="NDCG@10 of the answers against the cloud's availability",
        note="One point per run; bars: 95 % intervals, bootstrap over users. The vertical axis "
        "does not start at zero.",
        spec=finish(chart, f"NDCG at 10 against availability. {words}.", 240),
        legend=legend,
    )


def _over_time(runs: Runs, legend: tuple[tuple[str, str], ...]) -> Chart | None:
    rows: list[Record] = [
        {"run": name, "middle": (m.start_s + m.end_s) / 2, "value": m.answered.value}
        for name, system in runs.items()
        for m in system.timeline
        if m.answered.value is not None
    ]
    if not rows:
        return None
    values = [row["value"] for row in rows]
    end = max(m.end_s for system in runs.values() for m in system.timeline)
    lines = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=1.75)
        .encode(
            x=time_axis("middle:Q", end),
            y=y_axis("value:Q", padded(min(values), max(values), floor=0.0), ".2f"),
            color=color("run:N", _colors(runs)),
        )
    )
    return Chart(
        id="compare-time",
        title="NDCG@10 of the answers over replayed time",
        note="Mean per bin of each run's own width.",
        spec=finish(
            alt.layer(lines), f"NDCG at 10 of {len(runs)} runs over {end:.0f} seconds.", 240
        ),
        legend=legend,
    )


def _by_age(runs: Runs, legend: tuple[tuple[str, str], ...]) -> Chart | None:
    rows: list[Record] = [
        {"run": name, "age": score.group, **score.metrics["ndcg@10"].row()}
        for name, system in runs.items()
        for score in system.scores
        if (score.by, score.scorer) == ("delta", "answered")
    ]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return None
    ages = sorted({row["age"] for row in rows}, key=lambda age: int(age.rstrip("+").split("-")[0]))
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("age:N", title="age, events"),
        alt.Tooltip("value:Q", title="NDCG@10", format=".4f"),
        alt.Tooltip("count:Q", title="requests", format=","),
    ]
    chart = by_age(rows, ages, "run", _colors(runs), 56, tooltip)
    return Chart(
        id="compare-age",
        title="NDCG@10 of the answers by the age of the snapshot",
        note="Bars: 95 % intervals. Each run has its own mixture of ages.",
        spec=finish(chart, f"NDCG at 10 by snapshot age of {len(runs)} runs.", 240),
        legend=legend,
    )


def _latency(runs: Runs, legend: tuple[tuple[str, str], ...]) -> Chart | None:
    rows: list[Record] = [
        {"run": name, "what": name, "share": share, "ms": ms}
        for name, system in runs.items()
        for curve in system.curves
        if curve.what == SCHEDULED
        for share, ms in zip(curve.share, curve.ms, strict=True)
        if ms > 0
    ]
    if not rows:
        return None
    lines = cdf_lines(rows, "run", _colors(runs))
    return Chart(
        id="compare-latency",
        title="Share of requests answered within a time, from schedule",
        note="Milliseconds on a logarithmic scale. Runs under the virtual clock take no time and "
        "are left out.",
        spec=finish(lines, f"Cumulative distribution of request latency of {len(runs)} runs.", 240),
        legend=legend,
    )
