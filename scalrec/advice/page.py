"""The advice as one HTML file that needs no network and no other file."""

from __future__ import annotations

from reports.page.build import environment_of_page
from reports.page.tables.table import Row, Table, TableCell, difference_cell
from reports.text import score
from scalrec.advice.chart import gain_chart
from scalrec.advice.model import Advice, IntervalFigures
from scalrec.advice.table import PARTS

_PART_NOTE = (
    "Returns: targets the user had before; discoveries: all others. Both are given where the "
    "device ranks the whole catalogue."
)


def page(advice: Advice) -> str:
    """The page; the same advice gives the same bytes."""
    environment, assets = environment_of_page()
    template = environment.get_template("advice.html.j2")
    return template.render(
        advice=advice,
        chart=gain_chart(advice.figures),
        table=_table(advice),
        style=assets["style"],
    )


def _table(advice: Advice) -> Table:
    figures = advice.figures
    parts = tuple(dict.fromkeys(p for row in figures.intervals for p in row.gain_by_part))
    return Table(
        title="NDCG@10 by refresh interval",
        caption=f"{figures.requests:,} requests of {figures.users:,} users; without any "
        f"cloud: {score(figures.alone.value)}. Brackets: 95 % intervals, paired, bootstrap over "
        "users."
        + (f" {_PART_NOTE}" if parts else ""),
        heads=("Refresh every",),
        columns=(
            "Calls per 1,000", "Calibrated", "Cached as it is", "Calibrated − no cloud",
            "Calibrated − cached as it is", *(f"Gain, {PARTS[part]}" for part in parts),
        ),
        rows=tuple(_row(row, parts) for row in figures.intervals),
    )  # fmt: skip


def _row(row: IntervalFigures, parts: tuple[str, ...]) -> Row:
    return Row(
        ("request" if row.interval == 1 else f"{row.interval} requests",),
        (
            TableCell(f"{row.calls_per_1000:,.0f}"),
            TableCell(score(row.calibrated.value)),
            TableCell(score(row.uncalibrated.value)),
            difference_cell(row.gain),
            difference_cell(row.calibration),
            *(difference_cell(row.gain_by_part[part]) for part in parts),
        ),
    )
