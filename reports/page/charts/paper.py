"""NDCG@10 by gap, one chart per setting."""

from __future__ import annotations

import altair as alt

from reports.page.charts.frame import Chart, Record, Spec, color, finish, padded, y_axis
from reports.page.tables.table import name_of
from reports.summary.model import FullSection, PaperSection

SHOWN = ("calibrated", "uncalibrated", "structure")
_NARROW = 0.01  # of a scale whose ticks need another decimal to differ


def paper_charts(paper: PaperSection, full: FullSection | None) -> list[Chart]:
    """NDCG@10 by gap, one chart per setting on one common scale."""
    rows = [
        {"setting": r.setting, "gap": r.gap, "scorer": r.scorer, **r.metrics["ndcg@10"].row()}
        for r in paper.scores
        if r.part == "all" and r.scorer in SHOWN
    ]
    values = [v for r in rows for v in (r["low"], r["high"], r["value"]) if v is not None]
    lowest, highest = min(values), max(values)
    reach = 0.8 * max(highest - lowest, 1e-3)
    counters = [
        {"scorer": score.scorer, "label": name_of(score.scorer), "value": value}
        for score in (full.scores if full else ())
        if (score.steps, score.part) == ("last steps", "all")
        and score.scorer in ("popularity", "frequency", "decayed")
        and (value := score.metrics["ndcg@10"].value) is not None
    ]
    near = [c for c in counters if lowest - reach <= c["value"] <= highest + reach]
    far = [c for c in counters if c not in near]
    inside = [lowest, highest, *(c["value"] for c in near)]
    domain = padded(min(inside), max(inside))
    _place_labels(near, room=0.08 * (domain[1] - domain[0]))
    note = "Bands: 95 % intervals. Dotted: baselines, which rank the whole catalogue at gap 0."
    if far:
        outside = ", ".join(f"{c['label']} {c['value']:.4f}" for c in far)
        note += f" Outside the plotted range: {outside}."
    return [
        Chart(
            id=f"paper-{setting}",
            title=f"{setting}: NDCG@10 by snapshot age in events",
            note=note,
            spec=gap_chart(setting, [r for r in rows if r["setting"] == setting], near, domain),
            legend=tuple((f"s-{s}", name_of(s)) for s in SHOWN)
            + ((("s-counter", "baselines"),) if near else ()),
        )
        for setting in sorted({r["setting"] for r in rows})
    ]


def gap_chart(
    setting: str,
    rows: list[Record],
    counters: list[Record],
    domain: tuple[float, float],
    *,
    bands: bool = True,
) -> Spec:
    """One line per scorer over the gaps with its band, counters as dotted rules."""
    gaps = sorted({r["gap"] for r in rows})
    x = gap_axis(gaps)
    form = ".3f" if domain[1] - domain[0] > _NARROW else ".4f"
    y = y_axis("value:Q", domain, form)
    series = color("scorer:N", {name: f"var(--s-{name})" for name in SHOWN})
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    band = base.mark_area(opacity=0.14).encode(
        y=y_axis("low:Q", domain, form), y2="high:Q", color=series
    )
    line = base.mark_line(strokeWidth=2).encode(y=y, color=series)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(
        y=y, color=series, tooltip=gap_tooltip(("scorer:N", "scorer"), ("gap:Q", "gap"))
    )
    layers: list[alt.Chart] = [band, line, points] if bands else [line, points]
    if counters:
        lines = alt.Chart(alt.Data(values=counters))
        layers.insert(
            0,
            lines.mark_rule(strokeDash=[2, 3], color="var(--muted)").encode(
                y=y,
                tooltip=[
                    alt.Tooltip("label:N", title="baseline"),
                    alt.Tooltip("value:Q", title="NDCG@10", format=".4f"),
                ],
            ),
        )
        for place, dy in (("above", -4), ("below", 4)):
            labels = alt.Chart(alt.Data(values=[c for c in counters if c["place"] == place]))
            layers.append(
                labels.mark_text(
                    align="right",
                    baseline="bottom" if dy < 0 else "top",
                    color="var(--muted)",
                    dy=dy,
                    fontSize=11,
                ).encode(x=alt.XDatum(max(gaps)), y=y, text="label:N")
            )
    words = "; ".join(
        f"gap {r['gap']} {r['scorer']} {r['value']:.4f}" for r in rows if r["value"] is not None
    )
    return finish(alt.layer(*layers), f"NDCG at 10 by gap in setting {setting}: {words}.", 260)


def gap_axis(gaps: list[int]) -> alt.X:
    """Ticks at the gaps alone; points at either end stay clear of the labels."""
    return alt.X(
        "gap:Q",
        title="gap, events",
        scale=alt.Scale(nice=False, padding=8),
        axis=alt.Axis(values=gaps, grid=False, format="d"),
    )


def _place_labels(counters: list[Record], room: float) -> None:
    """Labels stand above their lines, but below where the next line up is too close."""
    above: Record | None = None
    for counter in sorted(counters, key=lambda c: -c["value"]):
        crowded = above is not None and above["value"] - counter["value"] < room
        counter["place"] = "below" if crowded else "above"
        above = counter


def gap_tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    return [
        *(alt.Tooltip(field, title=title) for field, title in fields),
        alt.Tooltip("value:Q", title="NDCG@10", format=".4f"),
        alt.Tooltip("low:Q", title="low", format=".4f"),
        alt.Tooltip("high:Q", title="high", format=".4f"),
        alt.Tooltip("count:Q", title="requests", format=","),
    ]
