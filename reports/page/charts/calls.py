"""What the cloud was asked over the replay: whether devices come back as a stampede."""

from __future__ import annotations

import altair as alt

from reports.page.charts.frame import AXIS, Chart, finish
from reports.page.charts.replay import shade, time_axis
from reports.summary.model import SystemSection


def call_rate_chart(system: SystemSection) -> Chart | None:
    """HTTP requests to the cloud per second, outages shaded; None without a record of them."""
    rate = system.call_rate
    if not rate:
        return None
    end = float(len(rate))
    rows = [{"start": n, "end": n + 1, "calls": calls} for n, calls in enumerate(rate)]
    down = [{"start": o.start_s, "end": o.end_s} for o in system.outages]
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(color="var(--s-calibrated)", stroke="var(--paper)", strokeWidth=0.4)
        .encode(
            x=time_axis("start:Q", end),
            x2="end:Q",
            y=alt.Y("calls:Q", title=None, axis=alt.Axis(tickCount=4, **AXIS)),
            y2=alt.datum(0),
            tooltip=[
                alt.Tooltip("start:Q", title="from, s"),
                alt.Tooltip("calls:Q", title="requests to the cloud"),
            ],
        )
    )
    return Chart(
        id="replay-calls",
        title="Requests to the cloud, per second",
        note="Every HTTP request that left a device, failed ones and retries included; what a "
        "breaker held back did not leave. Shaded: the cloud is down.",
        spec=finish(
            alt.layer(shade(down, end), bars),
            f"Requests to the cloud in each of {len(rate)} seconds, {max(rate):.0f} at most.",
            130,
        ),
        legend=(("s-calibrated", "requests to the cloud"),),
    )
