"""Latency percentiles."""

from __future__ import annotations

import altair as alt

from loadtest.report.charts.frame import AXIS, Chart, finish
from loadtest.summary.latency import REFRESH
from loadtest.summary.model import SystemSection


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
        color=alt.Color(
            "kind:N",
            legend=None,
            scale=alt.Scale(domain=list(colors), range=list(colors.values())),
        ),
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
        "latency",
        "Latency percentiles, milliseconds (logarithmic)",
        "Device requests from their scheduled and from their actual start; successful refreshes, "
        "which no request waits for.",
        finish(
            alt.layer(base.mark_line(strokeWidth=2), points), f"Latency percentiles: {words}.", 240
        ),
        (
            ("s-calibrated", "request, from schedule"),
            ("s-structure", "request, from start"),
            ("s-uncalibrated", "refresh"),
        ),
    )
