"""The run's device in the gates' record: scores by gap, and the paired differences they hide."""

from __future__ import annotations

import altair as alt

from reports.page.charts.frame import Chart, Record, Spec, color, finish, padded, y_axis
from reports.page.charts.paper import SHOWN, gap_axis, gap_chart, gap_tooltip
from reports.page.judged import JudgedRecord
from reports.page.tables.table import name_of
from shared.statistics import Estimate

# Each difference takes the colour of what calibration is compared with.
_OPPONENTS = ("uncalibrated", "structure")


def gate_charts(judged: JudgedRecord, profile: str) -> list[Chart]:
    """Per setting two charts, each on its own scale.

    Scales are not shared: what a stale embedding costs is a tenth of what stale candidates do.
    """
    settings = list(dict.fromkeys(setting for setting, _ in judged.gaps(profile)))
    drawn = [draw(judged, profile, s) for draw in (_scores, _differences) for s in settings]
    return [chart for chart in drawn if chart is not None]


def _scores(judged: JudgedRecord, profile: str, setting: str) -> Chart | None:
    rows = [
        {"gap": gap, "scorer": scorer, **figure.row()}
        for at, gap, scorer, figure in judged.scores(profile)
        if at == setting and figure.value is not None
    ]
    if not rows:
        return None
    values = [row["value"] for row in rows]
    domain = padded(min(values), max(values))
    return Chart(
        id=f"gates-{setting}",
        title=f"{setting}, {profile} device: NDCG@10 by snapshot age",
        note=f"Mean of {judged.record.seeds(profile)} seeds, on this chart’s own scale. What tells "
        "the lines apart is paired by user and step: see the differences.",
        spec=gap_chart(setting, rows, [], domain, bands=False),
        legend=tuple((f"s-{scorer}", name_of(scorer)) for scorer in SHOWN),
    )


def _differences(judged: JudgedRecord, profile: str, setting: str) -> Chart | None:
    rows = [
        {"gap": gap, "scorer": opponent, **estimate.row()}
        for opponent in _OPPONENTS
        for at, gap in judged.gaps(profile)
        if at == setting
        and (estimate := _over(judged, profile, setting, gap, opponent)).value is not None
    ]
    if not rows:
        return None
    return Chart(
        id=f"gates-{setting}-differences",
        title=f"{setting}, {profile} device: what calibration adds",
        note="NDCG@10, calibrated minus the other on the same steps; bands: 95 % intervals. Above "
        "the line calibration pays.",
        spec=_difference_chart(setting, rows),
        legend=tuple((f"s-{o}", f"over {name_of(o)}") for o in _OPPONENTS),
    )


def _over(judged: JudgedRecord, profile: str, setting: str, gap: int, opponent: str) -> Estimate:
    if opponent == "structure":
        return judged.over_own(profile, setting, gap)
    return judged.named(profile, setting, gap, "calibration")


def _difference_chart(setting: str, rows: list[Record]) -> Spec:
    values = [v for r in rows for v in (r["low"], r["high"], r["value"], 0.0) if v is not None]
    domain = padded(min(values), max(values))
    series = color("scorer:N", {name: f"var(--s-{name})" for name in _OPPONENTS})
    y = y_axis("value:Q", domain, "+.4f")
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=gap_axis(sorted({r["gap"] for r in rows})), color=series
    )
    band = base.mark_area(opacity=0.16).encode(y=y_axis("low:Q", domain, "+.4f"), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=y)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(
        y=y, tooltip=gap_tooltip(("scorer:N", "over"), ("gap:Q", "gap"))
    )
    zero = (
        alt.Chart(alt.Data(values=[{"value": 0.0}]))
        .mark_rule(color="var(--hairline-strong)", strokeWidth=1.5)
        .encode(y=y)
    )
    words = "; ".join(f"gap {r['gap']} over {r['scorer']} {r['value']:+.4f}" for r in rows)
    return finish(
        alt.layer(zero, band, line, points),
        f"Calibrated minus others in NDCG at 10 by gap in setting {setting}: {words}.",
        200,
    )
