"""What all charts share: the frame, the axes and the colours of the page.

Colours are CSS variables, so one specification serves light and dark; widths follow the
container. Every chart carries a description for screen readers.
"""

from __future__ import annotations

import math
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
