"""The page of an experiment: question, answer, one small table, pictures; the rest is folded."""

from __future__ import annotations

import html
from collections.abc import Sequence

from experiments.record import Record
from experiments.spec import Experiment, Published
from reports.experiments.answer_chart import answer_svg, answer_words
from reports.experiments.answers import glance, sentences
from reports.experiments.charts import alt_text, chart_svg
from reports.experiments.provenance import before_own_score, data_facts, run_facts
from reports.experiments.tables import published_text, table_text
from reports.names import log_name

MADE = "<!-- Made by `scalrec experiment table`; edit the YAML, not this file. -->\n"
_ANSWER = "answer.svg"
_OWN_FILES = "A log that the program cannot fetch is named with its file: `--log NAME=PATH`.\n"


def page_files(experiment: Experiment, records: Sequence[Record]) -> dict[str, str]:
    """The page and its charts, by name of the file.

    Args:
        records: one per log, at least one.
    """
    charts, pictures = _pictures(experiment, records)
    parts = [
        MADE,
        f"# {experiment.question}\n",
        " ".join(sentences(experiment, records)) + "\n",
        before_own_score(experiment, records),
        glance(experiment, records),
        *pictures,
        *_folded(experiment, records),
        *_repeating(experiment, records),
    ]
    return charts | {"README.md": "\n".join(part for part in parts if part)}


def _pictures(
    experiment: Experiment, records: Sequence[Record]
) -> tuple[dict[str, str], list[str]]:
    """The charts by name of the file, and the part of the page that shows them."""
    files: dict[str, str] = {}
    parts: list[str] = []
    for name, chart in experiment.charts.items():
        title = [f"## {chart.title}\n"]
        for record in records:
            svg = chart_svg(experiment, chart, record)
            if svg is None:
                continue
            file = f"{record.log}-{name}.svg"
            files[file] = svg
            words = alt_text(experiment, chart, record)
            parts += [*title, f"{log_name(record.log)}:\n", f"![{words}]({file})\n"]
            title = []
    if not files and (drawn := answer_svg(experiment, records)) is not None:
        files[_ANSWER] = drawn
        parts += ["## The figures, drawn\n"]
        parts += [f"![{answer_words(experiment, records)}]({_ANSWER})\n"]
    return files, parts


def _folded(experiment: Experiment, records: Sequence[Record]) -> list[str]:
    parts = ["## All tables\n"]
    tables = experiment.tables.values()
    together = [table for table in tables if table.together]
    parts += [fold(table.title, table_text(experiment, table, records)) for table in together]
    for record in records:
        apart = [
            fold(_beside(published), published_text(experiment, published, record))
            for published in experiment.published
            if record.log in published.logs
        ]
        apart += [
            fold(table.title, table_text(experiment, table, [record]))
            for table in tables
            if not table.together
        ]
        if apart:
            parts += [f"### {log_name(record.log)}\n", *apart]
    return parts


def _beside(published: Published) -> str:
    where = f"{published.setting}, gap {published.gap}"
    variant = "" if published.variant == "base" else f", {published.variant}"
    return f"{published.source}, beside ours ({where}{variant})"


def fold(title: str, text: str) -> str:
    """A block that opens on a click; its first line says how many rows are in it.

    Blank lines keep what is inside Markdown on code hosts; ``markdown="1"`` asks for it elsewhere.
    """
    rows = max(0, sum(line.startswith("| ") for line in text.splitlines()) - 2)
    said = f"{rows} row{'' if rows == 1 else 's'}" if rows else "no rows"
    summary = html.escape(f"{title}, {said}", quote=False)
    inner = text.strip()
    return f'<details markdown="1">\n<summary>{summary}</summary>\n\n{inner}\n\n</details>\n'


def _repeating(experiment: Experiment, records: Sequence[Record]) -> list[str]:
    commands = "\n".join(
        f"scalrec experiment run {experiment.name} --log {record.log}" for record in records
    )
    answers = f"Answers to: {experiment.paper}."
    if experiment.reuse:
        answers += (
            " Runs nothing of its own: its cells are those of "
            f"[`{experiment.reuse}`](../{experiment.reuse}/README.md)."
        )
    parts = ["## How to repeat it\n", f"```bash\n{commands}\n```\n", _OWN_FILES, f"{answers}\n"]
    for record in records:
        parts += [f"### The run on {log_name(record.log)}\n", run_facts(record)]
        parts += [data_facts(experiment, record)]
    return parts
