"""Where the time went."""

from __future__ import annotations

import altair as alt

from loadtest.replay.run_info import RunInfo
from reports.page.charts.frame import Chart, finish


def stage_chart(info: RunInfo) -> Chart:
    """Seconds per stage, in the order they ran."""
    rows = [
        {
            "stage": s.name,
            "seconds": s.seconds,
            "state": "reused" if s.reused else "run",
            "label": f"{s.seconds:,.1f} s" + (", reused" if s.reused else ""),
        }
        for s in info.stages
    ]
    longest = max((s.seconds for s in info.stages), default=1.0)
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "stage:N",
            sort=None,
            title=None,
            axis=alt.Axis(domain=False, ticks=False, labelLimit=170, labelPadding=8),
        ),
        # Room at the right for the label of the longest bar.
        x=alt.X("seconds:Q", axis=None, scale=alt.Scale(domain=[0, 1.3 * max(longest, 1e-6)])),
    )
    bars = base.mark_bar(height={"band": 0.62}, cornerRadiusEnd=2).encode(
        color=alt.Color(
            "state:N",
            legend=None,
            scale=alt.Scale(
                domain=["run", "reused"], range=["var(--s-calibrated)", "var(--hairline-strong)"]
            ),
        ),
        tooltip=[alt.Tooltip("stage:N"), alt.Tooltip("seconds:Q", format=",.1f")],
    )
    labels = base.mark_text(align="left", dx=6, color="var(--muted)").encode(text="label:N")
    words = "; ".join(f"{r['stage']} {r['label']}" for r in rows)
    return Chart(
        id="stages",
        title="Seconds per stage",
        note="Grey: reused from an earlier run.",
        spec=finish(
            alt.layer(bars, labels), f"Seconds per stage: {words}.", max(60, 26 * len(rows))
        ),
    )
