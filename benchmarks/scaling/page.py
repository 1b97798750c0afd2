"""docs/scaling.md and its charts, made from the record beside them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import altair as alt

from benchmarks.scaling.curve import Along, Curve, ScalingRecord
from reports.experiments.frame import as_svg, faceted
from reports.markdown import markdown
from reports.text import NONE
from shared.files import write_whole

RECORD, PAGE, CHARTS = "docs/results/scaling.json", "docs/scaling.md", "docs/img/scaling"
COMMAND = "python -m benchmarks.scaling"
_TITLES: dict[Along, str] = {
    "items": "Items",
    "users": "Users",
    "window": "Window",
    "candidates": "Candidates",
}
_UNITS: dict[Along, str] = {
    "items": "items of the catalogue",
    "users": "users of the log",
    "window": "events of the window",
    "candidates": "candidates of a snapshot",
}
What = Literal["ms", "MiB"]
_ENDS: dict[What, str] = {"ms": "", "MiB": "-memory"}  # of the charts' names
_COLOUR, _GUIDE = "#2f81f7", "#848d97"
_WIDTH, _HEIGHT = 210, 150


def written(root: Path, record: ScalingRecord) -> list[Path]:
    """Write the page and its charts below ``root``; returns their paths."""
    files = page_files(record)
    return [write_whole(root / name, text) for name, text in files.items()]


def page_files(record: ScalingRecord) -> dict[str, str]:
    """Text of the page and of each chart, by path in the repository."""
    along = list(dict.fromkeys(curve.along for curve in record.curves))
    drawn = {
        f"{CHARTS}-{name}{end}.svg": _chart(record.curves, name, what)
        for name in along
        for what, end in _ENDS.items()
    }
    files = {name: svg for name, svg in drawn.items() if svg is not None}
    parts = [
        f"<!-- Made by `{COMMAND}`; measure anew instead of editing this file. -->\n",
        "# How it grows\n",
        "What becomes of time and memory when one size grows and all others stay. "
        "*Exponent* is the power of the size that time grows by: 1 is linear, 2 quadratic. Fixed "
        "costs hide growth at small sizes, so the last step counts more than the whole "
        "curve.\n",
        _machine(record),
        *(part for name in along for part in _section(record.curves, name, files)),
    ]
    return files | {PAGE: "\n".join(parts)}


def _machine(record: ScalingRecord) -> str:
    has = ", ".join(record.instructions) or "no instruction sets told"
    threads = "one thread" if record.threads == 1 else f"{record.threads} threads"
    return (
        f"Measured on {record.when[:10]} at revision {record.revision or 'unknown'}: "
        f"{record.machine}, {record.memory_gib:g} GiB; {has}; {threads}. Time is the processor's, "
        "medians of several calls; memory is the most that the process grew by, inputs included. "
        "The record is "
        f"[{Path(RECORD).name}](results/{Path(RECORD).name}); `{COMMAND}` makes it and this page "
        "anew.\n"
    )


def _section(curves: Sequence[Curve], along: Along, files: Collection[str]) -> list[str]:
    own = [curve for curve in curves if curve.along == along]
    sizes = [point.size for point in own[0].points]
    head = ["", *(f"{size:,}" for size in sizes), "exponent", "of the last step"]
    time = [
        [c.work, *(_seconds(p.seconds) for p in c.points), f"{c.exponent:.2f}",
         f"{c.last_exponent:.2f}"]
        for c in own
    ]  # fmt: skip
    memory = [
        [c.work, *(f"{p.mib:,.0f}" for p in c.points), _power(c.memory_exponent)] for c in own
    ]
    return [
        f"## {_TITLES[along]}\n",
        *(f"- **{curve.work}**: {curve.told}" for curve in own),
        "",
        _picture(_words(own, along), along, "ms", files),
        markdown(head, time, f"Time by {_UNITS[along]}."),
        _picture(f"Memory by {_UNITS[along]}, as in the table below", along, "MiB", files),
        markdown([*head[:-2], "exponent of the last step"], memory, "Memory, MiB."),
    ]


def _picture(words: str, along: Along, what: What, files: Collection[str]) -> str:
    name = f"{CHARTS}-{along}{_ENDS[what]}.svg"
    return f"![{words}](img/{Path(name).name})\n" if name in files else ""


def _words(curves: Sequence[Curve], along: Along) -> str:
    """The chart in words, for readers who do not see it."""
    told = ", ".join(f"{curve.work} by the power {curve.last_exponent:.2f}" for curve in curves)
    return f"Time by {_UNITS[along]}, both axes logarithmic; at the end it grows: {told}"


def _chart(curves: Sequence[Curve], along: Along, what: What) -> str | None:
    """Time or memory by size on logarithmic axes; None where nothing grew.

    The dashed line is linear growth that ends where the curve does.
    """
    rows: list[dict[str, Any]] = []
    for curve in curves:
        if curve.along != along:
            continue
        found = [(p.size, 1e3 * p.seconds if what == "ms" else p.mib) for p in curve.points]
        found = [(size, value) for size, value in found if value > 0]
        rows += [
            {
                "panel": curve.work,
                "size": size,
                "value": value,
                "linear": found[-1][1] * size / found[-1][0],
            }
            for size, value in found
        ]
    if not rows:
        return None
    sizes = sorted({row["size"] for row in rows})
    axis = alt.Axis(values=sizes, grid=False, format="~s", labelOverlap=True)
    x = alt.X("size:Q", title=_UNITS[along], scale=alt.Scale(type="log", nice=False), axis=axis)
    scale = alt.Scale(type="log", nice=True)
    y = alt.Y(
        "value:Q", title=what, scale=scale, axis=alt.Axis(tickCount=4, format=",~r", grid=False)
    )
    base = alt.Chart().encode(x=x)
    line = base.mark_line(strokeWidth=2, color=_COLOUR).encode(y=y)
    points = base.mark_point(filled=True, size=42, opacity=1, color=_COLOUR).encode(y=y)
    guide = base.mark_line(strokeDash=[4, 3], strokeWidth=1, color=_GUIDE, clip=True).encode(
        y=alt.Y("linear:Q", title=what, scale=scale)
    )
    panels = len({row["panel"] for row in rows})
    return as_svg(
        faceted(guide, line, points, rows=rows, columns=panels, width=_WIDTH, height=_HEIGHT)
    )


def _seconds(value: float) -> str:
    """With three digits, in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def _power(exponent: float) -> str:
    return NONE if exponent != exponent else f"{exponent:.2f}"
