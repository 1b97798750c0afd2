"""Panels of a chart: the same layers for every group of rows, in the order the rows come in."""

from __future__ import annotations

from typing import Any

import altair as alt


def faceted(
    *layers: alt.Chart, rows: list[dict[str, Any]], columns: int, width: int, height: int
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
