"""What all tables share: cells with intervals, rows, and the columns of the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports import text
from reports.names import ALONE, CACHED, OWN_SCORE
from reports.summary.model import METRICS, Metrics
from shared.statistics import Estimate

PARTS = "Returns: targets the user had before; discoveries: all others. "
HEADS = {"ndcg@10": "NDCG@10", "hr@10": "HR@10", "ndcg@5": "NDCG@5", "hr@5": "HR@5"}
NAMES = {
    "answered": "answered (calibrated)",
    "uncalibrated": CACHED,
    "structure": OWN_SCORE,
    "alone": ALONE,
    "semantic": "semantic only (cloud alone)",
    "fused": "fresh fusion",
    "popularity": "popularity",
    "frequency": "personal frequency",
    "decayed": "decayed frequency",
}
# Where the whole catalogue is ranked, the parts of the own score are told apart.
FULL_NAMES = {
    "structure": "structure only",
    "counts": "structure with counts",
    "student": "own score: structure, counts and words",
}
COLLABORATIVE_NAMES = {
    "answered": "answered (collaborative)",
    "uncalibrated": "the same, as nothing is calibrated",
}


@dataclass(frozen=True)
class TableCell:
    """One value, its interval in small beside it, and how sure its sign is."""

    text: str
    interval: str = ""
    sign: int = 0


@dataclass(frozen=True)
class Row:
    """One line; ``heads`` are its row headers, a rule is drawn where ``group`` changes."""

    heads: tuple[str, ...]
    cells: tuple[TableCell, ...]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A caption that says all a reader needs to interpret the rows; heads and rows.

    Attributes:
        marked: index of the column that the reader looks for first.
    """

    title: str
    caption: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    marked: int | None = None


def name_of(scorer: str) -> str:
    """The scorer's name as tables and legends print it."""
    return NAMES.get(scorer, scorer)


def full_name(scorer: str) -> str:
    """As ``name_of``, where the whole catalogue is ranked."""
    return FULL_NAMES.get(scorer, name_of(scorer))


def difference_name(minuend: str, subtrahend: str, name: Callable[[str], str] = name_of) -> str:
    """ "calibrated − cached as it is"."""
    return f"{name(minuend)} − {name(subtrahend)}"


def replay_name(scorer: str, *, collaborative: bool) -> str:
    """As ``name_of``, for the replay: what the answer is depends on how its devices ranked."""
    if collaborative:
        return COLLABORATIVE_NAMES.get(scorer, name_of(scorer))
    return name_of(scorer)


def metric_heads() -> tuple[str, ...]:
    """Columns of a table of metrics."""
    return ("Requests", *(HEADS[name] for name in METRICS))


def metric_cells(metrics: Metrics) -> tuple[TableCell, ...]:
    """Count and every metric."""
    return (
        TableCell(f"{metrics[METRICS[0]].count:,}"),
        *(TableCell(text.score(metrics[m].value), text.interval(metrics[m])) for m in METRICS),
    )


def difference_cells(metrics: Metrics) -> tuple[TableCell, ...]:
    """Count and every metric's paired difference."""
    return (
        TableCell(f"{metrics[METRICS[0]].count:,}"),
        *(difference_cell(metrics[m]) for m in METRICS),
    )


def part_heads() -> tuple[str, ...]:
    """Columns of a table that shows returns and discoveries apart."""
    return tuple(
        f"{part}, {what}"
        for part in ("Returns", "Discoveries")
        for what in ("requests", "NDCG@10", "HR@10")
    )


def part_cells(returns: Metrics, discoveries: Metrics) -> tuple[TableCell, ...]:
    """Both parts side by side."""
    return tuple(
        cell
        for metrics in (returns, discoveries)
        for cell in (
            TableCell(f"{metrics['ndcg@10'].count:,}"),
            *(
                TableCell(text.score(metrics[m].value), text.interval(metrics[m]))
                for m in ("ndcg@10", "hr@10")
            ),
        )
    )


def difference_cell(estimate: Estimate, good: int = 1) -> TableCell:
    """A difference with its sign; ``good`` is the sign that is welcome."""
    return TableCell(
        text.signed(estimate.value),
        text.interval(estimate, with_sign=True),
        good * estimate.sign,
    )
