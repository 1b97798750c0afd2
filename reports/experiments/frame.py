"""What the charts of experiments share: panels in the order the rows come in, and the SVG."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import vl_convert

_TEXT, _LINES = "#7d8590", "#8b949e55"
# vl-convert brings this font along, so text has the same width, and files the same bytes, anywhere.
_FONT = "Liberation Sans"
_CLIP = re.compile(r"\bclip(\d+)\b")


def faceted(
    *layers: alt.Chart,
    rows: list[dict[str, Any]],
    columns: int,
    width: int,
    height: int | alt.Step,
) -> alt.FacetChart:
    """One panel for each ``panel`` of the rows, each with a vertical axis of its own."""
    order = list(dict.fromkeys(row["panel"] for row in rows))
    panels: alt.FacetChart = (
        alt.layer(*layers)
        .properties(width=width, height=height)
        .facet(
            facet=alt.Facet("panel:N", title=None, sort=order),
            columns=max(1, columns),
            data=alt.Data(values=rows),
        )
        .resolve_scale(y="independent")
    )
    return panels


def as_svg(panels: alt.FacetChart) -> str:
    """The drawing, on a transparent ground, ending with a line break."""
    spec = (
        panels.configure(background="transparent", font=_FONT, padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_TEXT, titleColor=_TEXT, gridColor=_LINES, domainColor=_LINES,
            tickColor=_LINES, titleFontWeight="normal", labelFontSize=11, titleFontSize=11,
        )
        .configure_header(labelColor=_TEXT, titleColor=_TEXT, labelFontSize=12)
        .configure_legend(labelColor=_TEXT, titleColor=_TEXT, labelFontSize=11, orient="bottom")
        .to_dict()
    )  # fmt: skip
    drawn: str = vl_convert.vegalite_to_svg(spec)
    # Its clip paths are numbered through the life of a process; a file is to be the same each time.
    numbers: dict[str, int] = {}
    svg = _CLIP.sub(lambda found: f"clip{numbers.setdefault(found[1], len(numbers))}", drawn)
    return svg if svg.endswith("\n") else svg + "\n"
