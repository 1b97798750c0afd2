"""Charts of an experiment as SVG: transparent, in colours that light and dark pages both bear."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import altair as alt

from experiments.record import Record
from experiments.selection import MEAN_GAP, Place, read_key
from experiments.spec import ChartSpec, Experiment
from reports.experiments.frame import as_svg, faceted
from reports.experiments.frontier_chart import frontier_panels, frontier_words
from reports.experiments.tables import METRICS

# Mid-tones with contrast on white and on near-black; shapes tell lines apart without colour.
_COLOURS = ("#2f81f7", "#d9730d", "#2da44e", "#a371f7", "#e5534b", "#1b9aaa", "#b8860b", "#848d97")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_WIDTH, _HEIGHT = 220, 170


def chart_svg(experiment: Experiment, chart: ChartSpec, record: Record) -> str | None:
    """The chart of one log as SVG; None where there is nothing to draw."""
    if chart.along == "calls":
        panels = frontier_panels(experiment, chart, record)
    else:
        panels = _panels(experiment, chart, record)
    if panels is None:
        return None
    return as_svg(panels)


def _rows(experiment: Experiment, chart: ChartSpec, record: Record) -> list[dict[str, Any]]:
    rows = []
    for key, figure in record.estimates.items():
        at = read_key(key)
        if (at["part"], at["steps"], at["metric"]) != (chart.part, chart.steps, chart.metric):
            continue
        if at["name"] not in chart.names or at["setting"] not in chart.settings:
            continue
        if at["variant"] not in (chart.variants or tuple(experiment.variants)):
            continue
        if (at["gap"] == MEAN_GAP) if chart.along == "gap" else (at["gap"] != chart.gap):
            continue
        x = int(at["gap"]) if chart.along == "gap" else at["variant"]
        rows.append(
            {
                "x": x,
                "name": at["name"],
                "panel": f"{at['profile']}, {at['setting']}",
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
            }
        )
    return rows


def _panels(experiment: Experiment, chart: ChartSpec, record: Record) -> alt.FacetChart | None:
    rows = _rows(experiment, chart, record)
    if not rows:
        return None
    names = [name for name in chart.names if any(row["name"] == name for row in rows)]
    along = list(dict.fromkeys(row["x"] for row in rows))
    x: alt.X
    if chart.along == "gap":
        axis = alt.Axis(values=sorted(along), grid=False, format="d")
        x = alt.X("x:Q", title="age of the snapshot, events", axis=axis)
    else:
        # In the order the chart names them, so that a sweep runs from small to large.
        wanted = [v for v in chart.variants or tuple(experiment.variants) if v in along]
        x = alt.X("x:N", title=None, sort=wanted, axis=alt.Axis(grid=False, labelAngle=-40))
    scale = alt.Scale(zero=False, nice=True)
    legend = alt.Legend(symbolOpacity=1)  # not the bands' own
    colour = alt.Color(
        "name:N",
        title=None,
        legend=legend,
        sort=names,
        scale=alt.Scale(domain=names, range=_cycled(_COLOURS, names)),
    )
    shape = alt.Shape(
        "name:N",
        title=None,
        legend=legend,
        scale=alt.Scale(domain=names, range=_cycled(_SHAPES, names)),
    )
    y = alt.Y("value:Q", title=METRICS[chart.metric], scale=scale)
    base = alt.Chart().encode(x=x, color=colour)
    low = alt.Y("low:Q", title=METRICS[chart.metric], scale=scale)
    if chart.along == "gap":
        band = base.mark_area(opacity=0.16).encode(y=low, y2="high:Q")
    else:
        band = base.mark_rule(opacity=0.5).encode(y=low, y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y)
    points = base.mark_point(filled=True, size=42, opacity=1).encode(y=y, shape=shape)
    return faceted(
        band, line, points, rows=rows, columns=len(chart.settings), width=_WIDTH, height=_HEIGHT
    )


def _cycled(values: Sequence[str], names: Sequence[str]) -> list[str]:
    return list(islice(cycle(values), len(names)))


def alt_text(experiment: Experiment, chart: ChartSpec, record: Record) -> str:
    """The chart in words, for readers who do not see it."""
    if chart.along == "calls":
        return frontier_words(chart, record)
    places = []
    for profile in record.profiles:
        for name in chart.names:
            place = Place(
                profile=profile,
                variant=next(iter(chart.variants or experiment.variants)),
                setting=chart.settings[0],
                gap=chart.gap,
                part=chart.part,
                steps=chart.steps,
                metric=chart.metric,
            )
            figure = record.estimates.get(place.key(name))
            if figure is not None and figure.value is not None:
                places.append(f"{profile} {name} {figure.value:.4f}")
    where = f"{chart.settings[0]}, gap {chart.gap}"
    return f"{chart.title}, {record.log}; {METRICS[chart.metric]} at {where}: " + ", ".join(places)
