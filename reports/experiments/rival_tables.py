"""Tables of many rivals: who is significantly better than whom, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.matrix import pair_name
from experiments.record import Extra, Figure, Record
from experiments.selection import Place
from experiments.spec import Experiment, TableSpec
from reports.markdown import markdown, scalar
from reports.text import MARKDOWN, NONE, signed

BETTER, WORSE, EVEN, SELF = "**+**", "−", "n.s.", "·"


def matrix_table(experiment: Experiment, table: TableSpec, records: Sequence[Record]) -> str:
    """Per log and place: + where the row's scorer is significantly above the column's.

    The size of the difference stands beside the mark with ``interval``.
    """
    scorers = experiment.matrices[str(table.matrix)].scorers
    blocks = []
    for record in records:
        for place in _places(table, record, experiment):
            rows = []
            for row in scorers:
                marks = [_mark(record, place, row, column, table.interval) for column in scorers]
                if set(marks) != {NONE, SELF}:
                    rows.append([row, *marks])
            if rows:
                kept = {row[0] for row in rows}
                held = [0, *(1 + at for at, name in enumerate(scorers) if name in kept)]
                lines = [[row[at] for at in held] for row in rows]
                head = ["", *(name for name in scorers if name in kept)]
                where = ", ".join(_named(table, record, place))
                blocks.append(f"{where}\n\n{markdown(head, lines)}")
    return "\n".join(blocks)


def _places(table: TableSpec, record: Record, experiment: Experiment) -> list[Place]:
    return [
        Place(
            profile=profile,
            variant=variant,
            setting=setting,
            gap=gap,
            steps=steps,
            metric=metric,
        )
        for profile in record.profiles
        if profile in (table.profiles or (profile,))
        for variant in (table.variants or tuple(experiment.variants))
        for setting in (table.settings or ())
        for gap in (table.gaps or ())
        for steps in table.steps
        for metric in table.metrics
    ]


def _named(table: TableSpec, record: Record, place: Place) -> list[str]:
    """The dimensions that the table says it tells apart."""
    at = place.model_dump() | {"log": record.log}
    return [f"gap {at[d]}" if d == "gap" else f"`{at[d]}`" for d in table.rows if d in at]


def _mark(record: Record, place: Place, row: str, column: str, sized: bool) -> str:
    if row == column:
        return SELF
    figure, turned = record.differences.get(place.key(pair_name(row, column))), False
    if figure is None:
        figure, turned = record.differences.get(place.key(pair_name(column, row))), True
    if figure is None or figure.value is None:
        return NONE
    sign = _sign(figure) * (-1 if turned else 1)
    mark = {1: BETTER, -1: WORSE}.get(sign, EVEN)
    if not sized:
        return mark
    return f"{mark} {signed(-figure.value if turned else figure.value, style=MARKDOWN)}"


def _sign(figure: Figure) -> int:
    """1 or -1 where the interval lies on one side of zero, else 0."""
    if figure.low is None or figure.high is None:
        return 0
    return int(figure.low > 0) - int(figure.high < 0)


def costs_table(table: TableSpec, records: Sequence[Record]) -> str:
    """A row for each scorer that anything was measured of, a column for each of ``names``."""
    measures = table.names or ()
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for record in records:
        for place, extras in record.extras.items():
            profile, _, variant = place.partition("/")
            if variant not in (table.variants or (variant,)):
                continue
            if profile not in (table.profiles or (profile,)):
                continue
            at = {"log": record.log, "profile": profile, "variant": variant}
            for scorer, found in _by_scorer(extras, measures).items():
                row = tuple((at | {"name": scorer})[d] for d in table.rows)
                rows.setdefault(row, {}).update(found)
    if not rows:
        return ""
    head = ["" if d == "name" else d for d in table.rows]
    body = [[*row, *(found.get(m, NONE) for m in measures)] for row, found in rows.items()]
    return markdown([*head, *(m.replace("_", " ") for m in measures)], body)


def _by_scorer(extras: Mapping[str, Extra], measures: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, extra in extras.items():
        for measure in measures:
            if name.startswith(f"{measure}_"):
                found.setdefault(name.removeprefix(f"{measure}_"), {})[measure] = scalar(extra)
    return found
