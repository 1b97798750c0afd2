"""Tables in README and docs, generated from committed run summaries, never typed.

README or a page under docs holds ``<!-- table: KIND RECORD -->`` ... ``<!-- /table -->``; what
stands between is replaced by the table KIND made from ``docs/results/RECORD.json``. With
``<!-- table: experiment NAME TABLE -->`` it is a table of an experiment, over all logs it has a
record of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments import spec
from loadtest.history.mutation_record import mutation_rows, read_mutation_record
from loadtest.scenarios.robustness_record import (
    fault_rows,
    read_robustness_record,
    robustness_rows,
)
from loadtest.scenarios.table import read_scenario_record, refresh_rate_rows, scenario_rows
from reports.experiments import publish
from reports.experiments.tables import table_text
from reports.markdown import markdown, plain, signed
from reports.page.tables.table import full_name
from reports.summary.model import Metrics, Part, Summary
from shared.errors import DataError
from shared.files import write_whole

RECORDS = Path("docs/results")
SCENARIOS = "docs/scenarios.md"  # filled by `scalrec loadtest run --docs .`
ROBUSTNESS = "docs/robustness.md"  # by `scalrec robustness --docs .` and `make mutations`
_BLOCK = re.compile(r"(<!-- table: (\S+) (\S+)(?: (\S+))? -->\n).*?(<!-- /table -->)", re.DOTALL)


def update_documents(root: Path, summary: Summary) -> list[Path]:
    """Store the summary as its log's record, then regenerate every table; returns what changed."""
    record = root / RECORDS / f"{summary.run.log['log']}.json"
    settings = _without_places(summary.run.settings)
    run = summary.run.model_copy(update={"settings": settings})
    compact = summary.model_copy(update={"run": run})
    if summary.system is not None:
        # What goes along time is for pictures, and by far the largest part.
        system = summary.system.model_copy(update={"timeline": (), "call_rate": ()})
        compact = compact.model_copy(update={"system": system})
    write_whole(record, compact.model_dump_json(indent=1) + "\n")
    return [record, *regenerate(root)]


def regenerate(root: Path) -> list[Path]:
    """Make every table of every document anew; returns the documents whose text changed."""
    changed = []
    for name in documents(root):
        path = root / name
        text = path.read_text()
        new = render(text, root)
        if new != text:
            write_whole(path, new)
            changed.append(path)
    return changed


def documents(root: Path) -> tuple[str, ...]:
    """README and pages of docs/ that hold tables, once there are the records that fill them."""
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    names = [str(page.relative_to(root)) for page in pages if _holds_tables(page)]
    filled_by = {SCENARIOS: ("scenarios",), ROBUSTNESS: ("robustness", "mutations")}
    return tuple(
        name
        for name in names
        if all((root / RECORDS / f"{record}.json").exists() for record in filled_by.get(name, ()))
    )


def _holds_tables(page: Path) -> bool:
    return page.exists() and _BLOCK.search(page.read_text()) is not None


def render(text: str, root: Path) -> str:
    """The document with every table block filled from its record.

    Raises:
        DataError: a block names an unknown table or a record that is not there.
    """

    def fill(match: re.Match[str]) -> str:
        opening, kind, record, table, closing = match.groups()
        if kind == "experiment":
            return f"{opening}{_experiment_table(root, record, table)}{closing}"
        path = root / RECORDS / f"{record}.json"
        if kind not in _TABLES:
            raise DataError(f"no table is called {kind!r}: one of {', '.join(_TABLES)}")
        try:
            record_text = path.read_text()
        except FileNotFoundError as error:
            raise DataError(
                "no such record; make it with `scalrec report --docs .`", path
            ) from error
        return f"{opening}{_TABLES[kind](record_text)}{closing}"

    return _BLOCK.sub(fill, text)


def staleness_table(summary: Summary) -> str:
    """What a snapshot of each age costs and what calibration buys back (paper mode)."""
    section = summary.paper
    if section is None:
        raise DataError("the record has no paper-mode section")
    head = ("setting", "gap", "calibrated", "cached as it is", "own score", "cost of staleness",
            "bought back by calibration")  # fmt: skip
    scores = {
        (s.setting, s.gap, s.scorer): s.metrics["ndcg@10"]
        for s in section.scores
        if s.part == "all"
    }
    stale = {(s.setting, s.gap): s for s in section.staleness}
    rows = []
    for key in dict.fromkeys((setting, gap) for setting, gap, _ in scores):
        ranked = [plain(scores[*key, name], interval=False) for name in _PAPER_SCORERS]
        row = stale.get(key)  # none at gap 0: nothing is lost there
        costs = ("", "") if row is None else (signed(row.loss), signed(row.bought_back))
        rows.append((key[0], str(key[1]), *ranked, *costs))
    scope = section.scope
    caption = (
        f"NDCG@10 within the cloud's {scope.candidates} candidates; {scope.requests:,} requests of "
        f"{scope.users:,} users, repeats {_repeats(scope.repeat_policy)}; 95 % intervals, "
        "clustered by user."
    )
    return markdown(head, rows, caption)


def ranking_table(summary: Summary) -> str:
    """Every scorer over the whole catalogue at gap 0, leave-one-out."""
    section = summary.full
    if section is None:
        raise DataError("the record has no full-ranking section")
    chosen = [s for s in section.scores if s.steps == "leave-one-out"]
    names = list(dict.fromkeys(s.scorer for s in chosen))
    head = ("scorer", "NDCG@10", "HR@10", "NDCG@10, returns", "NDCG@10, discoveries")
    rows = []
    for name in names:
        by_part = {s.part: s.metrics for s in chosen if s.scorer == name}
        rows.append(
            (
                full_name(name),
                plain(by_part["all"]["ndcg@10"]),
                plain(by_part["all"]["hr@10"]),
                _short(by_part, "returns"),
                _short(by_part, "discoveries"),
            )
        )
    users = chosen[0].metrics["ndcg@10"].count
    caption = (
        f"Leave-one-out over all {summary.run.log['items']} items, {users:,} users, repeats "
        f"{_repeats(section.scope.repeat_policy)}, half-life {section.scope.half_life:g} events."
    )
    return markdown(head, rows, caption)


def _experiment_table(root: Path, name: str, table: str | None) -> str:
    """A table of an experiment over all its committed records."""
    experiment = spec.load(name)
    if table is None or table not in experiment.tables:
        raise DataError(f"{name} has no table {table!r}: one of {', '.join(experiment.tables)}")
    records = publish.records_of(root / RECORDS, experiment)
    return table_text(experiment, experiment.tables[table], records)


def _without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without paths: where files lie on somebody's machine is no part of a result."""
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            kept[name] = _without_places(value)
        elif isinstance(value, str) and Path(value).is_absolute():
            kept[name] = Path(value).name
        else:
            kept[name] = value
    return kept


def _short(by_part: dict[Part, Metrics], part: Part) -> str:
    return plain(by_part[part]["ndcg@10"] if part in by_part else None, interval=False)


def _repeats(policy: str) -> str:
    return "excluded (seen items are never ranked)" if policy == "exclude" else "allowed"


_PAPER_SCORERS = ("calibrated", "uncalibrated", "structure")


def _of_summary(table: Callable[[Summary], str]) -> Callable[[str], str]:
    return lambda text: table(Summary.model_validate_json(text))


_TABLES: dict[str, Callable[[str], str]] = {
    "staleness": _of_summary(staleness_table),
    "ranking": _of_summary(ranking_table),
    "scenarios": lambda text: markdown(*scenario_rows(read_scenario_record(text))),
    "robustness": lambda text: markdown(*robustness_rows(read_robustness_record(text))),
    "robustness-faults": lambda text: markdown(*fault_rows(read_robustness_record(text))),
    "mutations": lambda text: markdown(*mutation_rows(read_mutation_record(text))),
    "refresh-rate": lambda text: markdown(*refresh_rate_rows(read_scenario_record(text))),
}
