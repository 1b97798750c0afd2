"""The replay over its own time, outages shaded."""

from __future__ import annotations

import altair as alt

from reports.page.charts.frame import AXIS, Chart, Record, Spec, color, finish, padded, y_axis
from reports.page.tables.table import name_of, replay_name
from reports.summary.model import SystemSection

FAILURES = ("deadline", "refused", "network", "server", "rejected", "breaker")
OUTCOMES = ("fresh", "stale", *FAILURES)


def replay_charts(system: SystemSection) -> list[Chart]:
    """Quality, snapshot age and refreshes over replayed time, outages shaded."""
    third = name_of("structure" if system.timeline[0].alone is None else "alone")
    bins = [
        {
            "start": m.start_s,
            "end": m.end_s,
            "middle": (m.start_s + m.end_s) / 2,
            "requests": m.requests,
            **{f"answered_{k}": v for k, v in m.answered.row().items()},
            "third": (m.structure if m.alone is None else m.alone).value,
            "decayed": m.decayed.value,
            "age_p10": m.age_p10,
            "age_p50": m.age_p50,
            "age_p90": m.age_p90,
            "from_snapshot": m.from_snapshot,
        }
        for m in system.timeline
    ]
    refreshes = [
        {"start": m.start_s, "end": m.end_s, "outcome": outcome, "count": count,
         "order": OUTCOMES.index(outcome) if outcome in OUTCOMES else len(OUTCOMES)}
        for m in system.timeline
        for outcome, count in sorted(m.refreshes.items())
    ]  # fmt: skip
    down = [{"start": o.start_s, "end": o.end_s} for o in system.outages]
    end = max(b["end"] for b in bins)
    shaded = "Shaded: the cloud is down."
    charts = [
        Chart(
            id="replay-ndcg",
            title="NDCG@10 of the answers over replayed time",
            note=f"Mean per bin of {text_bin(bins)}; band: 95 % interval of the answered. {shaded}",
            spec=_quality_chart(bins, down, end, third),
            legend=(
                ("s-calibrated", replay_name("answered", collaborative=system.collaborative)),
                ("s-structure", third),
            ),
        ),
        Chart(
            id="replay-age",
            title="Age of the snapshot answers were made from, seconds",
            note=f"Line: median; band: 10th to 90th percentile of the requests of a bin. {shaded}",
            spec=_age_chart(bins, down, end),
            legend=(("s-calibrated", "median age"),),
        ),
    ]
    if refreshes:
        present = [o for o in OUTCOMES if any(r["outcome"] == o for r in refreshes)]
        charts.append(
            Chart(
                id="replay-refreshes",
                title="Refreshes per bin, by outcome",
                note=f"One refresh is one ask of the policy, retries included. {shaded}",
                spec=_refresh_chart(refreshes, down, end),
                legend=tuple((f"o-{outcome}", outcome) for outcome in present),
            )
        )
    return charts


def text_bin(bins: list[Record]) -> str:
    """Width of the bins in words."""
    return f"{bins[0]['end'] - bins[0]['start']:.2g} s"


def _quality_chart(bins: list[Record], down: list[Record], end: float, third: str) -> Spec:
    values = [
        v
        for b in bins
        for v in (b["answered_low"], b["answered_high"], b["third"])
        if v is not None
    ]
    domain = padded(min(values, default=0.0), max(values, default=1.0), floor=0.0)
    base = alt.Chart(alt.Data(values=bins)).encode(x=time_axis("middle:Q", end))
    band = base.mark_area(opacity=0.14, color="var(--s-calibrated)").encode(
        y=y_axis("answered_low:Q", domain, ".2f"), y2="answered_high:Q"
    )
    structure = base.mark_line(strokeWidth=1.5, color="var(--s-structure)").encode(
        y=y_axis("third:Q", domain, ".2f")
    )
    answered = base.mark_line(strokeWidth=2, color="var(--s-calibrated)").encode(
        y=y_axis("answered_value:Q", domain, ".2f")
    )
    hover = _hover(
        bins,
        end,
        ("answered_value:Q", "answered", ".4f"),
        ("answered_low:Q", "low", ".4f"),
        ("answered_high:Q", "high", ".4f"),
        ("third:Q", third, ".4f"),
        ("decayed:Q", "decayed frequency", ".4f"),
        ("from_snapshot:Q", "from a snapshot", ".0%"),
        ("requests:Q", "requests", "d"),
    )
    return finish(
        alt.layer(shade(down, end), band, structure, answered, hover),
        f"NDCG at 10 over {end:.0f} seconds of replay, {len(down)} outages shaded.",
        220,
    )


def _age_chart(bins: list[Record], down: list[Record], end: float) -> Spec:
    top = max((b["age_p90"] for b in bins if b["age_p90"] is not None), default=1.0)
    domain = (0.0, 1.05 * max(top, 1e-3))
    base = alt.Chart(alt.Data(values=bins)).encode(x=time_axis("middle:Q", end))
    band = base.mark_area(opacity=0.14, color="var(--s-calibrated)").encode(
        y=y_axis("age_p10:Q", domain, "~s"), y2="age_p90:Q"
    )
    line = base.mark_line(strokeWidth=2, color="var(--s-calibrated)").encode(
        y=y_axis("age_p50:Q", domain, "~s")
    )
    hover = _hover(
        bins,
        end,
        ("age_p10:Q", "10th percentile, s", ".2f"),
        ("age_p50:Q", "median, s", ".2f"),
        ("age_p90:Q", "90th percentile, s", ".2f"),
    )
    return finish(
        alt.layer(shade(down, end), band, line, hover),
        f"Snapshot age in seconds over {end:.0f} seconds of replay; 90th percentile at most "
        f"{top:.1f} seconds.",
        150,
    )


def _refresh_chart(rows: list[Record], down: list[Record], end: float) -> Spec:
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(stroke="var(--paper)", strokeWidth=0.6)
        .transform_stack(
            stack="count", groupby=["start"], as_=["y0", "y1"], sort=[alt.SortField("order")]
        )
        .encode(
            x=time_axis("start:Q", end),
            x2="end:Q",
            y=alt.Y("y0:Q", title=None, axis=alt.Axis(tickCount=4, **AXIS)),
            y2="y1:Q",
            color=color("outcome:N", {o: f"var(--o-{o})" for o in OUTCOMES}),
            tooltip=[
                alt.Tooltip("outcome:N"),
                alt.Tooltip("count:Q", title="refreshes"),
                alt.Tooltip("start:Q", title="from, s", format=".1f"),
                alt.Tooltip("end:Q", title="to, s", format=".1f"),
            ],
        )
    )
    totals = {o: sum(r["count"] for r in rows if r["outcome"] == o) for o in OUTCOMES}
    words = ", ".join(f"{count} {outcome}" for outcome, count in totals.items() if count)
    return finish(alt.layer(shade(down, end), bars), f"Refreshes over the replay: {words}.", 130)


def time_axis(field: str, end: float) -> alt.X:
    return alt.X(
        field,
        title="replayed time, seconds",
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(grid=False, format="~s", tickCount=8),
    )


def shade(down: list[Record], end: float) -> alt.Chart:
    return (
        alt.Chart(alt.Data(values=down))
        .mark_rect(color="var(--outage)")
        .encode(
            x=time_axis("start:Q", end),
            x2="end:Q",
            tooltip=[
                alt.Tooltip("start:Q", title="cloud down from, s", format=".1f"),
                alt.Tooltip("end:Q", title="to, s", format=".1f"),
            ],
        )
    )


def _hover(bins: list[Record], end: float, *fields: tuple[str, str, str]) -> alt.Chart:
    """Invisible bars over the bins that carry the tooltips of all that lies beneath."""
    return (
        alt.Chart(alt.Data(values=bins))
        .mark_rect(opacity=0)
        .encode(
            x=time_axis("start:Q", end),
            x2="end:Q",
            tooltip=[
                alt.Tooltip("start:Q", title="from, s", format=".1f"),
                *(alt.Tooltip(field, title=title, format=form) for field, title, form in fields),
            ],
        )
    )
