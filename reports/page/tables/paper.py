"""Tables of paper mode."""

from __future__ import annotations

from reports import text
from reports.page.tables.table import (
    PARTS,
    Row,
    Table,
    TableCell,
    difference_cell,
    difference_cells,
    difference_name,
    metric_cells,
    metric_heads,
    name_of,
    part_cells,
    part_heads,
)
from reports.summary.model import PaperSection


def staleness_table(paper: PaperSection) -> Table:
    """Loss, what was bought back, its share, against structure; NDCG@10."""
    return Table(
        title="What staleness cost and calibration bought back, NDCG@10",
        caption="Loss: the snapshot taken as it is, at gap 0 minus at this gap, on the same "
        "requests. Bought back: calibrated minus cached as it is. Recovered: their ratio, where "
        "the loss is above zero. " + text.scope(paper.scope),
        heads=("Setting", "Gap"),
        columns=(
            "Loss",
            "Bought back",
            "Recovered",
            "Calibrated − own score",
            "Target among candidates",
            "Mean age, events",
        ),
        rows=tuple(
            Row(
                (row.setting, str(row.gap)),
                (
                    difference_cell(row.loss, good=-1),
                    difference_cell(row.bought_back),
                    TableCell(
                        text.percent(row.recovered.value), text.percent_interval(row.recovered)
                    ),
                    difference_cell(row.over_structure),
                    TableCell(text.percent(row.in_candidates.value, 1)),
                    TableCell(text.number(row.mean_delta, 1)),
                ),
                group=row.setting,
            )
            for row in paper.staleness
        ),
    )


def paper_table(paper: PaperSection, setting: str) -> Table:
    """All scorers at every gap of one setting."""
    return Table(
        title=f"{setting}: every scorer by gap",
        caption=text.scope(paper.scope),
        heads=("Gap", "Scorer"),
        columns=metric_heads(),
        rows=tuple(
            Row(
                (str(row.gap), name_of(row.scorer)),
                metric_cells(row.metrics),
                group=str(row.gap),
            )
            for row in paper.scores
            if row.setting == setting and row.part == "all"
        ),
    )


def paper_difference_table(paper: PaperSection) -> Table:
    """Paired differences at every setting and gap."""
    return Table(
        title="Paired differences by gap",
        caption="Differences on the same requests. " + text.scope(paper.scope),
        heads=("Setting", "Gap", "Difference"),
        columns=metric_heads(),
        rows=tuple(
            Row(
                (row.setting, str(row.gap), difference_name(row.minuend, row.subtrahend)),
                difference_cells(row.metrics),
                group=f"{row.setting} {row.gap}",
            )
            for row in paper.differences
            if row.part == "all"
        ),
    )


def paper_parts_table(paper: PaperSection) -> Table:
    """Returns and discoveries apart, at every setting and gap."""
    found = {(r.setting, r.gap, r.scorer, r.part): r.metrics for r in paper.scores}
    keys = [(r.setting, r.gap, r.scorer) for r in paper.scores if r.part == "all"]
    return Table(
        title="Returns and discoveries in paper mode",
        caption=PARTS + text.scope(paper.scope),
        heads=("Setting", "Gap", "Scorer"),
        columns=part_heads(),
        rows=tuple(
            Row(
                (setting, str(gap), name_of(scorer)),
                part_cells(
                    found[setting, gap, scorer, "returns"],
                    found[setting, gap, scorer, "discoveries"],
                ),
                group=f"{setting} {gap}",
            )
            for setting, gap, scorer in keys
        ),
    )


def cue_table(paper: PaperSection) -> Table:
    """Means of the cues, of the reliability and of the correction."""
    cues = ("delta", "drift", "omega", "r", "alpha", "de_norm")
    return Table(
        title="What the device saw and did: means over requests",
        caption="Cues of the estimator, reliability r, strength alpha = 1 − r, and size of the "
        "correction. " + text.scope(paper.scope),
        heads=("Setting", "Gap"),
        columns=("delta, events", "drift", "omega", "r", "alpha", "|de|"),
        rows=tuple(
            Row(
                (row.setting, str(row.gap)),
                tuple(TableCell(text.number(getattr(row, cue), 3)) for cue in cues),
                group=row.setting,
            )
            for row in paper.cues
        ),
    )
