"""What all charts share: the frame, the axes and the colours of the page.

Colours are CSS variables, so one specification serves light and dark; widths follow the
container. Every chart carries a description for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

Spec = dict[str, Any]
Record = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
AXIS_WIDTH = 46  # equal for charts stacked over one time axis, so that their times align
AXIS: dict[str, Any] = {"minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH}


@dataclass(frozen=True)
class Chart:
    """One figure: what it is called, what it shows in words, and how to draw it."""

    id: str
    title: str
    note: str
    spec: Spec
    legend: tuple[tuple[str, str], ...] = ()  # (CSS class, label)


def y_axis(field: str, domain: tuple[float, float], form: str) -> alt.Y:
    return alt.Y(
        field,
        title=None,
        scale=alt.Scale(domain=list(domain), zero=False, nice=False),
        axis=alt.Axis(tickCount=5, format=form, **AXIS),
    )


def padded(low: float, high: float, floor: float = -math.inf) -> tuple[float, float]:
    pad = 0.06 * max(high - low, 1e-3)
    return max(floor, low - pad), high + pad


def color(field: str, colors: Mapping[str, str]) -> alt.Color:
    """One colour per value of a field; the page draws the legend."""
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    return alt.Color(field, legend=None, scale=scale)


def reach(rows: list[Record]) -> tuple[float, float]:
    """Domain of an axis that shows values above zero with their intervals."""
    ends = [v for r in rows for v in (r["low"], r["value"], r["high"]) if v is not None]
    return padded(min(ends), max(ends), floor=0.0)


def whiskers(base: alt.Chart, domain: tuple[float, float], form: str, size: int) -> alt.LayerChart:
    """Points with their intervals as bars."""
    bars = base.mark_rule(strokeWidth=2).encode(y=y_axis("low:Q", domain, form), y2="high:Q")
    points = base.mark_point(filled=True, size=size, opacity=1)
    return alt.layer(bars, points.encode(y=y_axis("value:Q", domain, form)))


def by_age(
    rows: list[Record],
    ages: list[str],
    by: str,
    colors: Mapping[str, str],
    size: int,
    tooltip: list[alt.Tooltip],
) -> alt.LayerChart:
    """NDCG@10 with intervals by age of the snapshot, side by side for each value of ``by``."""
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "age:N",
            sort=ages,
            title="age of the snapshot, events",
            axis=alt.Axis(labelAngle=0),
            scale=alt.Scale(type="band", paddingInner=0.4),
        ),
        xOffset=alt.XOffset(f"{by}:N", sort=list(colors)),
        color=color(f"{by}:N", colors),
        tooltip=tooltip,
    )
    return whiskers(base, reach(rows), ".2f", size)


def finish(chart: alt.LayerChart, description: str, height: int) -> Spec:
    """Common frame: container width, quiet axes, colours of the page."""
    spec: Spec = (
        chart.properties(width="container", height=height, description=description)
        .configure(
            background="transparent",
            font=FONT,
            padding={"top": 6, "right": 12, "left": 0, "bottom": 2},
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor="var(--muted)",
            titleColor="var(--muted)",
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelFlush=False,
            gridColor="var(--hairline)",
            domainColor="var(--hairline-strong)",
            tickColor="var(--hairline-strong)",
        )
        .configure_axisY(domain=False, ticks=False)
        .to_dict()
    )
    del spec["$schema"]  # an address nothing needs to visit
    return spec
