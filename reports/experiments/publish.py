"""docs/results/: pages, charts and index, made anew from the committed records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments import spec
from experiments.record import Record, read_record
from experiments.spec import Experiment
from reports.experiments.charts import alt_text, chart_svg
from reports.experiments.tables import published_text, split_at_once, table_text
from reports.text import split_told
from shared.files import write_whole

FOLDER = "experiments"  # below docs/results
_MADE = "<!-- Made by `scalrec experiment table`; edit the YAML, not this file. -->\n"


def record_path(results: Path, experiment: str, log: str) -> Path:
    return results / FOLDER / experiment / f"{log}.json"


def records_of(results: Path, experiment: Experiment) -> list[Record]:
    """Committed records, the experiment's own logs first, in its order."""
    found = {p.stem: p for p in sorted((results / FOLDER / experiment.name).glob("*.json"))}
    order = [log for log in experiment.logs if log in found]
    return [read_record(found[log]) for log in [*order, *(x for x in found if x not in order)]]


def regenerate(results: Path, names: Iterable[str] | None = None) -> list[Path]:
    """Write the pages of these experiments (None: all) and the index; returns what changed.

    Raises:
        ConfigError: no such experiment.
        DataError: a record is damaged.
    """
    everything = spec.names()
    files: dict[Path, str] = {}
    for name in everything if names is None else names:
        experiment = spec.load(name)
        files |= _pages(results, experiment, records_of(results, experiment))
    files[results / "README.md"] = _index(results, [spec.load(name) for name in everything])
    return [path for path, text in files.items() if _write(path, text)]


def _pages(results: Path, experiment: Experiment, records: Sequence[Record]) -> dict[Path, str]:
    folder = results / FOLDER / experiment.name
    if not records:
        return {}
    files: dict[Path, str] = {}
    parts = [_MADE, f"# {experiment.name}\n", f"{experiment.question}\n", _origin(experiment)]
    for table in experiment.tables.values():
        if table.together:
            parts += [f"## {table.title}\n", table_text(experiment, table, records)]
    for record in records:
        parts += [f"## {record.log}\n", _facts(experiment, record)]
        for published in experiment.published:
            if record.log in published.logs:
                parts += [
                    "### The paper's figures\n",
                    published_text(experiment, published, record),
                ]
        for name, chart in experiment.charts.items():
            svg = chart_svg(experiment, chart, record)
            if svg is not None:
                files[folder / f"{record.log}-{name}.svg"] = svg
                words = alt_text(experiment, chart, record)
                parts += [f"### {chart.title}\n", f"![{words}]({record.log}-{name}.svg)\n"]
        for table in experiment.tables.values():
            if not table.together:
                parts += [f"### {table.title}\n", table_text(experiment, table, [record])]
        parts.append(_runs(record))
    files[folder / "README.md"] = "\n".join(parts)
    return files


def _origin(experiment: Experiment) -> str:
    answers = f"Answers to: {experiment.paper}."
    if experiment.reuse:
        answers += f" Runs nothing of its own: its cells are those of `{experiment.reuse}`."
    command = f"scalrec experiment run {experiment.name} --log LOG"
    return f"{answers} Run it with `{command}`.\n"


def _facts(experiment: Experiment, record: Record) -> str:
    seeds = ", ".join(
        f"`{profile}` {record.seeds(profile)} of {record.planned}" for profile in record.profiles
    )
    repeats = (
        "repeats are excluded (seen items are never ranked)"
        if record.repeat_policy == "exclude"
        else "repeats are allowed"
    )
    said = record.description
    lines = [
        f"{said.get('users', '?')} users, {said.get('items', '?')} items, "
        f"{said.get('interactions', '?')} interactions; {repeats}. Seeds: {seeds}. "
        f"Intervals: {record.draws:,} resamples of "
        + (
            "users and seeds."
            if record.resampled != "users"
            else "users, seeds averaged per user first."
        ),
        f"Split {split_told(None, 'global')}." if split_at_once(record) else "",
        *(f"Note: {note}." for note in record.notes),
        _before_own_score(experiment, record),
        _lacking(experiment, record),
        f"Terms of the data: {' '.join(record.terms.split())}" if record.terms else "",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _before_own_score(experiment: Experiment, record: Record) -> str:
    """Whether the record is of devices without a score of their own; "" if it is not."""
    training = record.settings.get("training", {})
    if not training or "text_student" in training or experiment.study == "lsc4rec":
        return ""
    return (
        "Recorded before devices had counts and words of their own, and before the semantic "
        "channel had its own item vectors: structure is the encoder alone here, and the cloud's "
        "embedding is scored with the encoder's vectors."
    )


def _lacking(experiment: Experiment, record: Record) -> str:
    """What the experiment asks and the record does not answer; "" if it answers all."""
    held = {key.split("/")[2] for key in (*record.differences, *record.ratios)}
    lacking = [name for name in (*experiment.differences, *experiment.ratios) if name not in held]
    if not lacking:
        return ""
    return (
        f"Not answered here: {', '.join(lacking)}. The record is older than the question, or its "
        "cells do not score what is compared; nothing on this page is about them."
    )


def _runs(record: Record) -> str:
    seconds = sum(run.seconds for run in record.runs)
    revisions = ", ".join(dict.fromkeys(run.revision or "no revision" for run in record.runs))
    machines = "; ".join(dict.fromkeys(run.machine for run in record.runs))
    codes = len({run.code for run in record.runs})
    text = f"{len(record.runs)} cells, {seconds / 3600:.1f} hours of computing; {machines}; "
    text += f"revision {revisions}."
    if codes > 1:
        text += f" They were computed by {codes} states of the code."
    return text + "\n"


def _index(results: Path, experiments: Sequence[Experiment]) -> str:
    parts = [
        _MADE,
        "# Results\n",
        "Every page and chart below is made by `scalrec experiment table` from the records beside "
        "it, and a test holds them to that. The `.json` files in this folder itself are records of "
        "whole runs of the system, made by `scalrec report --docs .`.\n",
        "Unless a page says otherwise, every user is cut at a time of their own: training has met "
        "events that lie after the requests it is used for. How much of it, and how ties are "
        "scored, now and in older records: [How rankings are judged](../evaluation.md).\n",
        "| experiment | question | answers to | logs |\n| --- | --- | --- | --- |",
    ]
    rows = []
    for experiment in experiments:
        records = records_of(results, experiment)
        done = ", ".join(record.log for record in records) or "not run yet"
        name = experiment.name
        link = f"[{name}]({FOLDER}/{name}/README.md)" if records else name
        rows.append(f"| {link} | {experiment.question} | {experiment.paper} | {done} |")
    return "\n".join(parts) + "\n" + "\n".join(rows) + "\n"


def _write(path: Path, text: str) -> bool:
    data = text.encode()
    if path.exists() and path.read_bytes() == data:
        return False
    write_whole(path, data)
    return True
