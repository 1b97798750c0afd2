"""How answers degrade with the age of the snapshot they were made from."""

from __future__ import annotations

import altair as alt

from reports.page.charts.frame import Chart, Record, by_age, finish
from reports.page.tables.table import name_of
from reports.summary.model import SystemSection

COLORS = {"answered": "var(--s-calibrated)", "uncalibrated": "var(--s-uncalibrated)"}


def degradation_chart(system: SystemSection) -> Chart | None:
    """NDCG@10 of three answers by snapshot age in events; None with fewer than two ages."""
    third = "alone" if any(s.scorer == "alone" for s in system.scores) else "structure"
    colors = COLORS | {third: "var(--s-structure)"}
    rows: list[Record] = [
        {
            "age": score.group,
            "scorer": score.scorer,
            "name": name_of(score.scorer),
            **score.metrics["ndcg@10"].row(),
        }
        for score in system.scores
        if score.by == "delta" and score.scorer in colors
    ]
    rows = [row for row in rows if row["value"] is not None]
    ages = list(dict.fromkeys(row["age"] for row in rows))
    if len(ages) < 2:
        return None
    tooltip = [
        alt.Tooltip("name:N", title="answer"),
        alt.Tooltip("age:N", title="age, events"),
        alt.Tooltip("value:Q", title="NDCG@10", format=".4f"),
        alt.Tooltip("low:Q", format=".4f"),
        alt.Tooltip("high:Q", format=".4f"),
        alt.Tooltip("count:Q", title="requests", format=","),
    ]
    chart = by_age(rows, ages, "scorer", colors, 64, tooltip)
    words = "; ".join(f"{r['name']} at age {r['age']} {r['value']:.4f}" for r in rows)
    return Chart(
        id="replay-degradation",
        title="NDCG@10 by the age of the snapshot",
        note="The same requests for all three answers at each age; bars: 95 % intervals. Ages "
        "differ in who was asked: old snapshots are those of outages and of busy users.",
        spec=finish(chart, f"NDCG at 10 by snapshot age: {words}.", 220),
        legend=tuple(
            (f"s-{css}", name_of(name))
            for css, name in (
                ("calibrated", "answered"),
                ("uncalibrated", "uncalibrated"),
                ("structure", third),
            )
        ),
    )
