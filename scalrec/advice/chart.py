"""The gain over the device alone by refresh interval, with bands, as a chart of a page."""

from __future__ import annotations

import altair as alt

from reports import text
from reports.names import CACHED
from reports.page.charts.frame import Chart, Record, color, finish, padded, y_axis
from scalrec.advice.model import Figures

_NAMES = {"calibrated": "calibrated", "uncalibrated": CACHED}
_COLORS = {name: f"var(--s-{name})" for name in _NAMES}


def gain_chart(figures: Figures) -> Chart:
    """Gains of snapshots, calibrated and cached as they are, over no cloud at all."""
    rows: list[Record] = [
        {"every": row.interval, "snapshots": name, **gain.row()}
        for row in figures.intervals
        for name, gain in (("calibrated", row.gain), ("uncalibrated", row.uncalibrated_gain))
    ]
    ends = [0.0, *(v for r in rows for v in (r["low"], r["value"], r["high"]) if v is not None)]
    domain = padded(min(ends), max(ends))
    along = [row.interval for row in figures.intervals]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "every:Q",
            title="requests from one refresh to the next",
            scale=alt.Scale(type="log", domain=[along[0], max(along[-1], 2)], nice=False),
            axis=alt.Axis(values=along, grid=False, format="d"),
        ),
        color=color("snapshots:N", _COLORS),
    )
    band = base.mark_area(opacity=0.16).encode(y=y_axis("low:Q", domain, "+.3f"), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y_axis("value:Q", domain, "+.3f"))
    points = base.mark_point(filled=True, size=56, opacity=1).encode(
        y=y_axis("value:Q", domain, "+.3f")
    )
    zero = (
        alt.Chart(alt.Data(values=[{"value": 0.0}]))
        .mark_rule(color="var(--hairline-strong)", strokeWidth=1.5)
        .encode(y=y_axis("value:Q", domain, "+.3f"))
    )
    words = "; ".join(
        f"every {row.interval}: {text.signed(row.gain.value)}" for row in figures.intervals
    )
    return Chart(
        id="advice-gain",
        title="NDCG@10 gained over a device without any cloud",
        note=f"Bands: 95 % intervals, bootstrap over {figures.users:,} users. At zero the cloud "
        "brings nothing.",
        spec=finish(
            alt.layer(band, zero, line, points), f"Gain by refresh interval. {words}.", 260
        ),
        legend=tuple((f"s-{name}", label) for name, label in _NAMES.items()),
    )
