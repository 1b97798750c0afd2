"""`scalrec experiment`: the tables and figures of the papers, run, resumed and made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments import expected, spec
from experiments.cell_store import CellStore
from experiments.cells import Resolve
from experiments.gates import judge
from experiments.record import Record, read_record
from experiments.spec import Experiment
from reports.documents import regenerate as regenerate_documents
from reports.experiments import publish
from reports.experiments.tables import gate_numbers
from reports.marked import marked
from scalrec.console import make_console
from scalrec.jobs.experimenting import Outcome, Request, resolver, run_experiment
from scalrec.options import (
    ColumnsOption,
    EmbedderOption,
    ItemsOption,
    SetOption,
    WorkDirOption,
    among,
    one_spec,
    settings_from,
)
from scalrec.running import run_command
from shared.errors import ConfigError
from shared.profile import PRESETS

app = typer.Typer(
    help="Run the experiments, and make their tables and figures from the records.",
    no_args_is_help=True,
)
ResultsOption = Annotated[
    Path, typer.Option("--results", help="Folder of the committed results and their pages.")
]
NameArgument = Annotated[str, typer.Argument(help="A name from `scalrec experiment list`.")]
RESULTS = Path("docs/results")


@app.command("list")
def list_experiments(results: ResultsOption = RESULTS, work_dir: WorkDirOption = None) -> None:
    """What each experiment asks, how many cells it has per log, and what is done."""
    store = CellStore(settings_from(work_dir=work_dir).work_dir / "experiments")
    table = Table(box=None, padding=(0, 1))
    for column in ("name", "question", "logs", "cells", "done"):
        table.add_column(column, overflow="fold")
    for name in spec.names():
        experiment = spec.load(name)
        profiles, variants = len(experiment.profiles), len(experiment.variants)
        cells = profiles * variants * experiment.seeds
        of = f"{profiles} profiles, {variants} variants, {experiment.seeds} seeds"
        words = f"those of {experiment.reuse}" if experiment.reuse else f"{cells} ({of})"
        logs = "\n".join(experiment.logs)
        done = _done(experiment, cells, results, store.count(experiment.cells_of))
        table.add_row(name, experiment.question, logs, words, done)
    make_console().print(table)


@app.command("run")
def run(
    name: NameArgument,
    log: Annotated[
        str,
        typer.Option(
            "--log",
            help="The dataset: a log of the experiment, any other known log, the path of your own "
            "file, or NAME=PATH for a log whose file you bring.",
        ),
    ],
    profiles: Annotated[
        str | None, typer.Option(help="Only these, comma between: tiny,small,full.")
    ] = None,
    variants: Annotated[str | None, typer.Option(help="Only these, comma between.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1 only.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cells computed at the same time.")] = 1,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="One seed, hardly trained: does it run? Committed results stay."
        ),
    ] = False,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Run code that is not committed; the record says.")
    ] = False,
    keep_outdated: Annotated[
        bool,
        typer.Option("--keep-outdated", help="Keep finished cells that other code computed."),
    ] = False,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help="Keep what the record in the results says of other profiles and variants.",
        ),
    ] = False,
    study: Annotated[
        str | None, typer.Option(hidden=True, help="Id or module:function of what computes a cell.")
    ] = None,
    results: ResultsOption = RESULTS,
    columns: ColumnsOption = None,
    items: ItemsOption = None,
    embedder: EmbedderOption = None,
    work_dir: WorkDirOption = None,
    assignments: SetOption = None,
) -> None:
    """Compute the cells that are not finished, then the record, its pages and the verdict.

    A cell is one profile, variant and seed. Each runs in a process of its own and is kept when it
    ends, so an interrupted run continues where it was, and cells two experiments share are
    computed once. The record holds the cells that are kept here; with --add also those that it
    held before, computed elsewhere.
    """
    experiment = spec.load(name)
    log_name, path = _log(log)
    request = Request(
        log=log_name,
        profiles=among(PRESETS, "profile", profiles),
        variants=among(experiment.variants, "variant", variants),
        seeds=seeds,
        processes=jobs,
        quick=quick,
        allow_dirty=allow_dirty,
        keep_outdated=keep_outdated,
        add=add,
        results=results,
        study=study or experiment.study,
    )
    resolve = resolver(log_name, path, one_spec(columns), items, embedder, work_dir, assignments)
    run_command(_run(experiment, request, resolve))


@app.command("table")
def table(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Experiments; none: all, and the tables in README and docs."),
    ] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Make pages, charts and index anew from the committed records; the same bytes every time."""
    changed = publish.regenerate(results, names or None)
    if not names and results == RESULTS and Path("README.md").exists():
        changed += regenerate_documents(Path())
    console = make_console()
    for path in changed:
        console.print(marked("[green]✓[/] {}", path), highlight=False, soft_wrap=True)
    if not changed:
        console.print(marked("[green]✓[/] nothing to change"))


@app.command("expect")
def expect(name: NameArgument, results: ResultsOption = RESULTS) -> None:
    """Take the committed records as what a repetition is expected to come out at."""
    experiment = spec.load(name)
    path = expected.path_of(experiment)
    for record in publish.records_of(results, experiment):
        count = expected.update(experiment, record, path)
        make_console().print(
            marked("[green]✓[/] {}: {} values of {}", path, count, record.log), soft_wrap=True
        )


async def _run(experiment: Experiment, request: Request, resolve: Resolve) -> None:
    console = make_console()
    outcome = await run_experiment(experiment, request, resolve, console)
    _print_outcome(console, experiment, outcome)
    if outcome.failed:
        console.print(
            marked(
                "[red]{} cells failed[/]; the same command tries them again", len(outcome.failed)
            )
        )
        raise typer.Exit(1)


def _print_outcome(console: Console, experiment: Experiment, outcome: Outcome) -> None:
    print_gates(console, experiment, outcome.record)
    if outcome.compared:
        print_expected(console, outcome.compared)
    for path in (outcome.path, *outcome.changed):
        console.print(marked("[green]✓[/] {}", path), highlight=False, soft_wrap=True)


def print_gates(console: Console, experiment: Experiment, record: Record) -> None:
    """Every gate by profile, with the figure that decides it."""
    if not experiment.gates:
        return
    table = Table(title=f"Gates, {record.log}", title_justify="left", box=None)
    for column in ("profile", "gate", "", "the figure that decides"):
        table.add_column(column, overflow="fold")
    colours = {"holds": "green", "fails": "red", "not applicable": "dim"}
    for profile in record.profiles:
        for name, verdict in judge(experiment.gates, record, profile).items():
            status = Text(verdict.status, style=colours[verdict.status])
            title = f"{name}: {experiment.gates[name].title}"
            table.add_row(profile, title, status, gate_numbers(experiment, verdict))
    console.print(table)


def print_expected(console: Console, compared: list[expected.ExpectedValue]) -> None:
    """How many expected values are met, and each that is not."""
    off = [comparison for comparison in compared if not comparison.met]
    console.print(f"Expected results: {len(compared) - len(off)} of {len(compared)} met")
    for comparison in off:
        found = "not computed" if comparison.found is None else f"{comparison.found:.4f}"
        wanted = f"{comparison.expected:.4f} ± {comparison.tolerance:g}"
        console.print(marked("  [yellow]off[/] {}: {}, expected {}", comparison.key, found, wanted))


def _done(experiment: Experiment, cells: int, results: Path, local: dict[str, int]) -> str:
    lines = []
    logs = dict.fromkeys([*experiment.logs, *local])
    for log in logs:
        path = publish.record_path(results, experiment.name, log)
        parts = []
        if path.exists():
            parts.append(f"record of {len(read_record(path).runs)}/{cells}")
        if log in local:
            parts.append(f"{local[log]} computed here")
        lines.append(f"{log}: {', '.join(parts) or 'nothing yet'}")
    return "\n".join(lines)


def _log(text: str) -> tuple[str, str | None]:
    """Name and path in ``--log``."""
    name, separator, path = text.partition("=")
    if not separator:
        if not Path(text).exists():
            return text, None
        name, path = Path(text).name.split(".")[0], text
    if not Path(path).exists():
        raise ConfigError(f"--log {text}: no such file")
    return name, path
