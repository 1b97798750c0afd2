"""The chart of a frontier: NDCG@10 against realised calls per request, one panel per family."""

from __future__ import annotations

from typing import Any

import altair as alt

from experiments.record import Figure, Record
from experiments.selection import read_key
from experiments.spec import ChartSpec, Experiment
from reports.experiments.frame import faceted

ALONE = "alone"  # the scorer without any cloud: a level, not a curve
BOUND = "oracle"  # scorers that begin so are dashed: nobody can run them
COLOURS = (
    "#848d97", "#1b9aaa", "#a371f7", "#2da44e", "#e5534b", "#bf3989", "#2f81f7", "#b8860b",
    "#d9730d", "#7c5cff", "#96724f", "#768390",
)  # fmt: skip
_WIDTH, _HEIGHT = 330, 250


def frontier_panels(
    experiment: Experiment, chart: ChartSpec, record: Record
) -> alt.FacetChart | None:
    """Lines for ``chart.names``, a band around the first; None where there is nothing to draw."""
    rows = _rows(chart, record)
    lines = [row for row in rows if row["calls"] > 0 and row["name"] != ALONE]
    if not lines:
        return None
    names = [name for name in chart.names if any(row["name"] == name for row in rows)]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(names))]
    colour = alt.Color(
        "name:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=colours),
        # Padding: browsers may set names in a wider font than the one they were measured in.
        legend=alt.Legend(
            columns=3, columnPadding=45, symbolType="circle", symbolOpacity=1, symbolSize=70
        ),
    )
    dash = alt.condition(
        f"indexof(datum.name, '{BOUND}') == 0", alt.value([5, 4]), alt.value([1, 0])
    )
    scale = alt.Scale(type="log", domain=[0.01, 1.0], clamp=True)
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0]
    x = alt.X(
        "calls:Q", title="cloud calls per request, realised", scale=scale,
        axis=alt.Axis(values=ticks, format="~%", grid=False),
    )  # fmt: skip
    y = alt.Y("value:Q", title="NDCG@10", scale=alt.Scale(zero=False, nice=True))
    base = alt.Chart().encode(x=x, color=colour)
    curves = base.transform_filter(f"datum.calls > 0 && datum.name != '{ALONE}'")
    first = chart.names[0]
    band = curves.transform_filter(f"datum.name == '{first}'").mark_area(opacity=0.16)
    band = band.encode(y=alt.Y("low:Q", title="NDCG@10"), y2="high:Q")
    width = alt.condition(f"datum.name == '{first}'", alt.value(3.5), alt.value(1.7))
    line = curves.mark_line().encode(y=y, strokeDash=dash, strokeWidth=width, order="calls:Q")
    points = curves.mark_point(filled=True, size=22, opacity=1).encode(y=y)
    level = (
        alt.Chart()
        .transform_filter(f"datum.name == '{ALONE}'")
        .mark_rule(strokeWidth=1.5, strokeDash=[2, 2])
        .encode(y=y, color=colour)
    )
    return faceted(
        band, line, points, level,
        rows=rows, columns=len(chart.settings), width=_WIDTH, height=_HEIGHT,
    )  # fmt: skip


def frontier_words(chart: ChartSpec, record: Record) -> str:
    """The chart in words: what each line reaches at the budget nearest to 10 %."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _rows(chart, record):
        place = (row["panel"], row["name"])
        if place not in best or abs(row["calls"] - 0.1) < abs(best[place]["calls"] - 0.1):
            best[place] = row
    parts = [
        f"{panel} {name} {row['value']:.4f} at {100 * row['calls']:.1f} %"
        for (panel, name), row in best.items()
    ]
    return f"{chart.title}, {record.log}; NDCG@10 near 10 % calls: " + ", ".join(parts)


def _rows(chart: ChartSpec, record: Record) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str, str], dict[str, Figure]] = {}
    for key, figure in record.estimates.items():
        at = read_key(key)
        if (at["part"], at["steps"]) == (chart.part, chart.steps) and at["name"] in chart.names:
            place = (at["profile"], at["variant"], at["setting"], at["name"])
            found.setdefault(place, {})[at["metric"]] = figure
    rows: list[dict[str, Any]] = []
    for (profile, _, setting, name), by in found.items():
        family, _, _ = setting.rpartition("-")
        if family not in chart.settings or chart.metric not in by or "calls" not in by:
            continue
        figure, calls = by[chart.metric], by["calls"].value
        rows.append(
            {
                "name": name,
                "panel": f"{profile}, {family}",
                "family": family,
                "calls": 0.0 if calls is None else round(calls, 5),
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
            }
        )
    return sorted(rows, key=lambda row: _place(chart, record, row))


def _place(chart: ChartSpec, record: Record, row: dict[str, Any]) -> tuple[int, int, int, float]:
    profile = record.profiles.index(row["panel"].partition(",")[0])
    return (
        profile,
        chart.settings.index(row["family"]),
        chart.names.index(row["name"]),
        row["calls"],
    )
