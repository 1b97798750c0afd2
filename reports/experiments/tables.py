"""Tables of an experiment, made from its records alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any

from experiments.gates import GateVerdict, judge
from experiments.record import Figure, Record
from experiments.selection import Place, gap_order, read_key, within
from experiments.spec import Experiment, Published, TableSpec
from reports.experiments.frontier_tables import frontier_note, frontier_table
from reports.experiments.rival_tables import costs_table, matrix_table
from reports.markdown import markdown, plain, scalar, share, signed
from reports.text import NONE

_HEADS = {"name": "scorer", "metric": "measure"}
METRICS = {
    "ndcg10": "NDCG@10",
    "ndcg5": "NDCG@5",
    "hr10": "HR@10",
    "hr5": "HR@5",
    "ndcg20": "NDCG@20",
    "hr20": "HR@20",
    "precision5": "Precision@5",
    "precision10": "Precision@10",
    "precision20": "Precision@20",
    "calls": "calls per request",
    "served": "snapshots per request",
}
_PARTS = {
    "all": "all",
    "return": "returns",
    "discovery": "discoveries",
    "trained_0": "0",
    "trained_1_5": "1 to 5",
    "trained_6_20": "6 to 20",
    "trained_21_100": "21 to 100",
    "trained_over_100": "over 100",
}
_MARKS = {"holds": "**holds**", "fails": "fails", "not applicable": NONE}
_STEPS = {"last": "last steps", "loo": "leave-one-out"}


def table_text(experiment: Experiment, table: TableSpec, records: Sequence[Record]) -> str:
    """The table over the given records, then its note; a sentence where there is nothing.

    Args:
        records: one per log; several fill one table.
    """
    if table.show == "gates":
        text = _gates(experiment, records)
    elif table.show == "gate-grid":
        text = _gate_grid(experiment, records)
    elif table.show == "extras":
        text = _extras(table, records)
    elif table.show == "matrix":
        text = matrix_table(experiment, table, records)
    elif table.show == "costs":
        text = costs_table(table, records)
    elif table.show == "frontier":
        text = frontier_table(experiment, table, records)
    else:
        text = _pivot(experiment, table, records)
    note = f"\n{_caption(experiment, table, records)}\n" if text else "Not run yet.\n"
    return text + note


def published_text(experiment: Experiment, published: Published, record: Record) -> str:
    """A paper's figures beside ours, per profile."""
    metrics = list(dict.fromkeys(m for row in published.rows for m in row.values))
    head = ["", *(f"{METRICS[m]}, paper" for m in metrics)]
    head += [f"{METRICS[m]}, ours, `{p}`" for p in record.profiles for m in metrics]
    rows = []
    for row in published.rows:
        ours = []
        for profile in record.profiles:
            for metric in metrics:
                place = Place(
                    profile=profile,
                    variant=published.variant,
                    setting=published.setting,
                    gap=published.gap,
                    steps=published.steps,
                    metric=metric,
                )
                key = place.key(row.scorer) if row.scorer else ""
                ours.append(plain(record.estimates.get(key), interval=True))
        theirs = [f"{row.values[m]:.4f}" if m in row.values else NONE for m in metrics]
        rows.append([row.label, *theirs, *ours])
    where = f"{published.setting}, gap {published.gap}, {_steps(published.steps, [record])}"
    note = f"Ours: {where}. Theirs: {published.source}. {published.note}".strip()
    return f"{markdown(head, rows)}\n{note}\n"


def _pivot(experiment: Experiment, table: TableSpec, records: Sequence[Record]) -> str:
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    columns: list[str] = []
    for record in records:
        figures: dict[str, Figure] = getattr(record, table.show)
        for key, figure in figures.items():
            at = read_key(key)
            if not within(table, at):
                continue
            at["log"] = record.log
            row = tuple(_word(table, experiment, d, at[d]) for d in table.rows)
            column = _word(table, experiment, table.columns, at[table.columns])
            columns.append(column)
            cells.setdefault(row, {})[column] = _format(table)(figure)
    if not cells:
        return ""
    columns = list(dict.fromkeys(columns))
    if table.columns == "name" and table.names is not None:
        order = {_word(table, experiment, "name", n): i for i, n in enumerate(table.names)}
        columns.sort(key=lambda column: order.get(column, len(order)))
    if table.columns == "part":
        columns.sort(key=[_PARTS[part] for part in table.parts].index)
    if table.columns == "setting" and table.settings is not None:
        columns.sort(key=table.settings.index)
    if table.columns == "gap":
        columns.sort(key=lambda column: gap_order(column.removeprefix("gap ").split()[0]))
    head = [
        _HEADS.get(d, d) if table.show == "estimates" or d != "name" else "" for d in table.rows
    ]
    rows = [[*row, *(found.get(c, NONE) for c in columns)] for row, found in cells.items()]
    return markdown([*head, *columns], rows)


def _word(table: TableSpec, experiment: Experiment, dimension: str, value: str) -> str:
    if dimension == "name" and table.show in ("differences", "ratios"):
        return experiment.label(value)
    if dimension == "gap" and table.columns == "gap":
        return "mean of gaps above 0" if value == "mean" else f"gap {value}"
    words = {"metric": METRICS, "part": _PARTS, "steps": _STEPS}.get(dimension, {})
    return words.get(value, value)


def _format(table: TableSpec) -> Callable[[Figure], str]:
    if table.show == "differences":
        return lambda figure: signed(figure, interval=table.interval)
    if table.show == "ratios":
        return lambda figure: share(figure, interval=table.interval)
    return lambda figure: plain(figure, interval=table.interval)


def _extras(table: TableSpec, records: Sequence[Record]) -> str:
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    columns: dict[str, None] = {}
    for record in records:
        for place, extras in record.extras.items():
            profile, _, variant = place.partition("/")
            at = {"log": record.log, "profile": profile, "variant": variant}
            if variant not in (table.variants or (variant,)):
                continue
            if profile not in (table.profiles or (profile,)):
                continue
            for name, extra in extras.items():
                if not any(fnmatch(name, p) for p in table.names or ("*",)):
                    continue
                at["name"] = name
                row = tuple(at.get(d, "") for d in table.rows)
                column = at[table.columns]
                columns[column] = None
                rows.setdefault(row, {})[column] = scalar(extra)
    if not rows:
        return ""
    head = ["" if d == "name" else d for d in table.rows]
    body = [[*row, *(found.get(c, NONE) for c in columns)] for row, found in rows.items()]
    return markdown([*head, *columns], body)


def _gates(experiment: Experiment, records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        for profile in record.profiles:
            for name, verdict in judge(experiment.gates, record, profile).items():
                numbers = gate_numbers(experiment, verdict)
                gate = experiment.gates[name]
                status = f"**{verdict.status}**" if verdict.status == "holds" else verdict.status
                rows.append([record.log, profile, f"{name}: {gate.title}", status, numbers])
    return markdown(["log", "profile", "gate", "", "the figure that decides"], rows) if rows else ""


def _gate_grid(experiment: Experiment, records: Sequence[Record]) -> str:
    """One row per log and profile, one column per gate."""
    rows = []
    for record in records:
        for profile in record.profiles:
            verdicts = judge(experiment.gates, record, profile)
            marks = (_MARKS[verdicts[name].status] for name in experiment.gates)
            rows.append([record.log, profile, *marks])
    return markdown(["log", "profile", *experiment.gates], rows) if rows else ""


def gate_numbers(experiment: Experiment, verdict: GateVerdict) -> str:
    """The figures that decide a gate, or why it was not asked."""
    evidence = [_evidence(experiment, found.key, found.figure) for found in verdict.evidence]
    return "; ".join(evidence) or verdict.reason


def _evidence(experiment: Experiment, key: str, figure: Figure) -> str:
    at = read_key(key)
    text = share(figure) if at["name"] in experiment.ratios else signed(figure)
    return f"{experiment.label(at['name'])} ({place_words(at)}): {text}"


def place_words(at: dict[str, str]) -> str:
    """Where a figure of a gate stands: setting, gap, and variant unless it is the base."""
    where = f"{at['setting']}, gap {at['gap']}"
    return where if at["variant"] == "base" else f"{where}, {at['variant']}"


def _steps(steps: str, records: Sequence[Record]) -> str:
    """Which steps of each user were scored, as the records' settings have it."""
    counts = {r.log: scored_steps(r.settings) for r in records}
    if steps != "last" or None in counts.values():
        return _STEPS[steps]
    which = "first" if all(map(split_at_once, records)) else "last"
    if len(set(counts.values())) == 1:
        return f"{which} {next(iter(counts.values()))} steps"
    return f"{which} steps: " + ", ".join(f"{count} ({log})" for log, count in counts.items())


def split_at_once(record: Record) -> bool:
    """Whether its log was cut at one instant, and the first steps after it were scored."""
    return bool(record.settings.get("training", {}).get("split") == "global")


def scored_steps(settings: dict[str, Any]) -> int | None:
    """Last steps of each user that were scored; the first of a frontier's window is not."""
    if (window := settings.get("frontier", {}).get("steps")) is not None:
        return int(window) - 1
    steps: int | None = settings.get("paper", {}).get("steps")
    return steps


def intervals(records: Sequence[Record]) -> str:
    """What the intervals of a table hold; older records' were drawn by user alone."""
    drawn = {record.resampled for record in records}
    more = {"users and seeds": " and seed"}.get(drawn.pop(), "") if len(drawn) == 1 else ""
    return f"95 % intervals, clustered by user{more}"


def _caption(experiment: Experiment, table: TableSpec, records: Sequence[Record]) -> str:
    """What a reader must know that the rows do not say."""
    if table.show == "frontier":
        note = f"{frontier_note(experiment, table)} {intervals(records)}."
        return " ".join(text for text in (note, table.note) if text)
    said = {*table.rows, table.columns}
    facts = []
    if table.show not in ("gates", "gate-grid", "extras", "costs"):
        if "metric" not in said:
            facts.append(", ".join(METRICS[m] for m in table.metrics))
        if "steps" not in said:
            facts.append(" and ".join(_steps(s, records) for s in table.steps))
        if "part" not in said and table.parts != ("all",):
            facts.append(" and ".join(_PARTS[p] for p in table.parts))
    signed_by = ("differences", "matrix", "ratios", "gates", "gate-grid")
    if table.show in signed_by or table.interval:
        facts.append(intervals(records))
    sentence = "; ".join(facts)
    return " ".join(text for text in (sentence and f"{sentence}.", table.note) if text)
