"""The advice on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import text
from reports.marked import marked
from reports.names import CACHED
from scalrec.advice.model import Advice, IntervalFigures
from scalrec.advice.verdict import NAMES
from shared.statistics import Estimate

_COLOURS = {1: "green", -1: "red", 0: "dim"}


def print_advice(console: Console, advice: Advice) -> None:
    """Figures by interval, the verdict, its remarks, and what is not known."""
    console.print(_table(advice))
    if any(row.gain_by_part for row in advice.figures.intervals):
        console.print(_parts(advice))
    figures = advice.figures
    others = [f"{NAMES[name]} {text.score(e.value)}" for name, e in figures.opponents.items()]
    console.print(
        f"Device without any cloud: {text.measured(figures.alone)}; a fresh snapshot adds "
        f"{text.difference(figures.fresh)}; what else it could do without one: "
        f"{', '.join(others) or text.NONE}",
        highlight=False,
    )
    verdict = advice.verdict
    told = marked(
        "\n[bold yellow]{}[/]" if verdict.interval is None else "\n[bold green]{}[/]",
        verdict.sentence,
    )
    console.print(told, highlight=False)
    for remark in verdict.remarks:
        console.print(f"· {remark}", highlight=False, markup=False)
    console.print(marked("\n[bold]What this does not know[/]"))
    for sentence in advice.unknown:
        console.print(f"· {sentence}", highlight=False, markup=False, style="dim")


def _table(advice: Advice) -> Table:
    figures = advice.figures
    title = (
        f"NDCG@10 by refresh interval, {advice.profile.name} device, "
        f"{figures.requests:,} requests of {figures.users:,} users"
    )
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for heading in (
        "refresh every", "calls per 1,000", "calibrated", CACHED,
        "calibrated − no cloud", f"calibrated − {CACHED}",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for row in figures.intervals:
        table.add_row(
            marked(
                "[bold]→[/] {}" if row.interval == advice.verdict.interval else "{}", _every(row)
            ),
            f"{row.calls_per_1000:,.0f}",
            text.score(row.calibrated.value),
            text.score(row.uncalibrated.value),
            _difference(row.gain),
            _difference(row.calibration),
        )
    return table


def _parts(advice: Advice) -> Table:
    rows = advice.figures.intervals
    table = Table(title="Calibrated − no cloud, apart", title_justify="left", box=None)
    table.add_column("refresh every", justify="right")
    parts = tuple(dict.fromkeys(part for row in rows for part in row.gain_by_part))
    for part in parts:
        table.add_column(PARTS[part], justify="right")
    for row in rows:
        found = [row.gain_by_part.get(part) for part in parts]
        cells = [
            text.NONE if e is None else _difference(e).append(f", n = {e.count:,}") for e in found
        ]
        table.add_row(_every(row), *cells)
    return table


PARTS = {"return": "returns", "discovery": "discoveries"}


def _every(row: IntervalFigures) -> str:
    return "request" if row.interval == 1 else f"{row.interval} requests"


def _difference(estimate: Estimate) -> Text:
    return Text(text.difference(estimate), style=_COLOURS[estimate.sign])
