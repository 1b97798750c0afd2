"""docs/results/: pages, charts and index, made anew from the committed records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments import spec
from experiments.record import Record, read_record
from experiments.spec import Experiment
from reports.experiments.answers import sentences
from reports.experiments.page import MADE, fold, page_files
from reports.markdown import markdown
from reports.names import log_name
from reports.text import joined
from shared.files import write_whole

FOLDER = "experiments"  # below docs/results
_READING = (
    "## How to read them\n",
    "Better and worse are of NDCG@10 and significant: the 95 % interval of the difference excludes "
    "zero. Figures in brackets are shares of what is compared with. `tiny`, `small` and `full` are "
    "device profiles; other words are in the [glossary](../glossary.md).\n",
    "Unless a page says otherwise, every user is cut at a time of their own: training has met "
    "events that lie after the requests it is used for. How much of it, and how ties are "
    "scored, now and in older records: [How rankings are judged](../evaluation.md).\n",
    "Every page and chart is made by `scalrec experiment table` from the records beside it, and a "
    "test holds them to that. The `.json` files in this folder itself are records of whole runs "
    "of the system, made by `scalrec report --docs .`.\n",
)


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
        if records := records_of(results, experiment):
            folder = results / FOLDER / name
            made = page_files(experiment, records)
            files |= {folder / file: text for file, text in made.items()}
    files[results / "README.md"] = _index(results, [spec.load(name) for name in everything])
    return [path for path, text in files.items() if _write(path, text)]


def _index(results: Path, experiments: Sequence[Experiment]) -> str:
    asked = [(experiment, records_of(results, experiment)) for experiment in experiments]
    answered = [(experiment, records) for experiment, records in asked if records]
    parts = [MADE, "# Results\n", "What was asked, and in one sentence what came out.\n"]
    for experiment, records in answered:
        first, *_ = sentences(experiment, records)
        link = f"{FOLDER}/{experiment.name}/README.md"
        parts.append(f"- **[{experiment.question}]({link})** {first}")
    parts.append("")
    if waiting := [experiment for experiment, records in asked if not records]:
        parts += ["Asked and not run yet:\n", *(f"- {one.question}" for one in waiting), ""]
    parts += [
        *_READING,
        "## By name\n",
        fold("Experiments, what they answer to, logs", _names(asked)),
    ]
    return "\n".join(parts)


def _names(asked: Sequence[tuple[Experiment, Sequence[Record]]]) -> str:
    rows = []
    for experiment, records in asked:
        name = experiment.name
        link = f"[{name}]({FOLDER}/{name}/README.md)" if records else name
        done = joined([log_name(record.log) for record in records]) if records else "not run yet"
        rows.append((link, experiment.paper, done))
    return markdown(("experiment", "answers to", "logs"), rows)


def _write(path: Path, text: str) -> bool:
    data = text.encode()
    if path.exists() and path.read_bytes() == data:
        return False
    write_whole(path, data)
    return True
