"""Latency percentiles."""

from __future__ import annotations

import altair as alt

from reports.page.charts.frame import AXIS, Chart, Record, color, finish
from reports.summary.latency import REFRESH
from reports.summary.model import SystemSection


def latency_chart(system: SystemSection) -> Chart | None:
    """Percentiles on a logarithmic scale; None if no time passes, as under a virtual clock."""
    ticks = ("p50", "p90", "p95", "p99", "max")
    kinds = {system.latency[0].what: "scheduled", system.latency[1].what: "service"}
    kinds[f"{REFRESH}, fresh"] = "refresh"
    rows = [
        {"what": row.what, "kind": kinds[row.what], "percentile": tick, "ms": value}
        for row in system.latency
        if row.what in kinds
        for tick in ticks
        if (value := getattr(row, tick)) is not None and value > 0
    ]
    if not rows:
        return None
    colors = {
        "scheduled": "var(--s-calibrated)",
        "service": "var(--s-structure)",
        "refresh": "var(--s-uncalibrated)",
    }
    powers = [10.0**p for p in range(-3, 7)]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("percentile:N", sort=list(ticks), title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "ms:Q",
            title=None,
            scale=alt.Scale(type="log"),
            axis=alt.Axis(values=powers, format="~g", **AXIS),
        ),
        color=color("kind:N", colors),
    )
    points = base.mark_point(filled=True, size=46, opacity=1).encode(
        tooltip=[
            alt.Tooltip("what:N", title="latency"),
            alt.Tooltip("percentile:N"),
            alt.Tooltip("ms:Q", title="ms", format=",.2f"),
        ]
    )
    words = "; ".join(f"{r['what']} {r['percentile']} {r['ms']:.3g} ms" for r in rows)
    return Chart(
        id="latency",
        title="Latency percentiles, milliseconds (logarithmic)",
        note="Device requests from their scheduled and from their actual start; successful "
        "refreshes, which no request waits for.",
        spec=finish(
            alt.layer(base.mark_line(strokeWidth=2), points), f"Latency percentiles: {words}.", 240
        ),
        legend=(
            ("s-calibrated", "request, from schedule"),
            ("s-structure", "request, from start"),
            ("s-uncalibrated", "refresh"),
        ),
    )


def latency_cdf_chart(system: SystemSection) -> Chart | None:
    """Share of requests answered within a time; None if no time passes."""
    kinds = {system.latency[0].what: "scheduled", system.latency[1].what: "service"}
    colors = {"scheduled": "var(--s-calibrated)", "service": "var(--s-structure)"}
    rows = [
        {"what": curve.what, "kind": kinds[curve.what], "share": share, "ms": ms}
        for curve in system.curves
        for share, ms in zip(curve.share, curve.ms, strict=True)
        if ms > 0
    ]
    if not rows:
        return None
    lines = cdf_lines(rows, "kind", colors)
    return Chart(
        id="latency-cdf",
        title="Share of requests answered within a time, milliseconds (logarithmic)",
        note="From the scheduled time every wait in a busy device counts; from the actual start "
        "only its work. Where the curves part, requests had to queue.",
        spec=finish(
            lines, "Cumulative distribution of request latency, from schedule and start.", 240
        ),
        legend=(("s-calibrated", "from schedule"), ("s-structure", "from start")),
    )


def cdf_lines(rows: list[Record], by: str, colors: dict[str, str]) -> alt.LayerChart:
    """Distributions (``share`` of ``what`` within ``ms``) as lines, one per value of ``by``."""
    powers = [10.0**p for p in range(-3, 7)]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "ms:Q",
            title="milliseconds",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=powers, format="~g", grid=False),
        ),
        y=alt.Y(
            "share:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(tickCount=5, format=".0%", **AXIS),
        ),
        color=color(f"{by}:N", colors),
        order=alt.Order("share:Q"),
    )
    points = base.mark_point(size=30, opacity=0).encode(
        tooltip=[
            alt.Tooltip("what:N", title="latency"),
            alt.Tooltip("share:Q", format=".2%"),
            alt.Tooltip("ms:Q", title="ms", format=",.2f"),
        ]
    )
    return alt.layer(base.mark_line(strokeWidth=2), points)
