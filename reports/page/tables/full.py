"""Tables of the full ranking."""

from __future__ import annotations

from reports import text
from reports.page.tables.table import (
    PARTS,
    Row,
    Table,
    difference_cells,
    difference_name,
    full_name,
    metric_cells,
    metric_heads,
    part_cells,
    part_heads,
)
from reports.summary.model import FullSection


def full_table(full: FullSection, steps: str) -> Table:
    """All scorers over the whole catalogue, for the last steps or for leave-one-out."""
    rows = [row for row in full.scores if row.steps == steps and row.part == "all"]
    note, scope = "all last steps", full.scope
    if steps == "leave-one-out":
        note = "each user's very last event alone"
        count = rows[0].metrics["ndcg@10"].count
        scope = scope.model_copy(update={"requests": count, "steps_per_user": 1})
    return Table(
        title=f"Whole catalogue, {steps}",
        caption=f"{steps.capitalize()}: {note}. " + text.scope(scope),
        heads=("Scorer",),
        columns=metric_heads(),
        rows=tuple(Row((full_name(row.scorer),), metric_cells(row.metrics)) for row in rows),
    )


def full_difference_table(full: FullSection) -> Table:
    return Table(
        title="Whole catalogue, paired differences",
        caption="Differences on the same requests. " + _both(full),
        heads=("Steps", "Difference"),
        columns=metric_heads(),
        rows=tuple(
            Row(
                (row.steps, difference_name(row.minuend, row.subtrahend, full_name)),
                difference_cells(row.metrics),
                group=row.steps,
            )
            for row in full.differences
        ),
    )


def full_parts_table(full: FullSection) -> Table:
    """Returns and discoveries apart over the whole catalogue."""
    found = {(r.steps, r.scorer, r.part): r.metrics for r in full.scores}
    keys = [(r.steps, r.scorer) for r in full.scores if r.part == "all"]
    return Table(
        title="Returns and discoveries over the whole catalogue",
        caption=PARTS + _both(full),
        heads=("Steps", "Scorer"),
        columns=part_heads(),
        rows=tuple(
            Row(
                (steps, full_name(scorer)),
                part_cells(found[steps, scorer, "returns"], found[steps, scorer, "discoveries"]),
                group=steps,
            )
            for steps, scorer in keys
        ),
    )


def _both(full: FullSection) -> str:
    """The scope of a table that shows the last steps and, of them, leave-one-out."""
    count = next(
        row.metrics["ndcg@10"].count
        for row in full.scores
        if (row.steps, row.part) == ("leave-one-out", "all")
    )
    return f"Leave-one-out rows: the {count:,} very last events alone. {text.scope(full.scope)}"
