"""One run of an experiment on one log: which cells are left, their computation, the record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments import expected, provenance
from experiments.addition import added
from experiments.aggregate import aggregate
from experiments.cell_store import CellStore, FinishedCell
from experiments.cells import Cell, PlannedCell, Resolve, expand, plan
from experiments.record import Record, read_record, write_record
from experiments.runner import Runner
from experiments.servers import SharedServers
from experiments.settings import CellSettings
from experiments.spec import Experiment, Overrides, merge
from experiments.study import STUDY
from reports.experiments import publish
from reports.marked import marked
from scalrec.console import ConsoleProgress, print_log
from scalrec.jobs.cell_overview import CellOverview
from scalrec.jobs.prepared import read_log
from scalrec.options import settings_over
from scalrec.stack.embedder_server import served_embedder
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from training.splitting import policy_of

SHOWN_FILES = 5


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        log: name of the log, as the experiment and its records call it.
        profiles, seeds, variants: fewer than the experiment has; None for all.
        quick: tiny training and one seed, for a first look; leaves the committed results alone.
        allow_dirty: run although the code differs from the commit; the record says so.
        keep_outdated: keep finished cells that other code computed; the record says so.
        add: keep what the committed record says of profiles and variants beyond this run's.
        results: folder of the committed results.
    """

    log: str
    profiles: tuple[str, ...] | None = None
    seeds: int | None = None
    variants: tuple[str, ...] | None = None
    processes: int = 1
    quick: bool = False
    allow_dirty: bool = False
    keep_outdated: bool = False
    add: bool = False
    results: Path = Path("docs/results")
    study: str = STUDY


@dataclass(frozen=True)
class Outcome:
    """What a run left: the record, its file, changed documents, and cells that failed."""

    record: Record
    path: Path
    changed: list[Path]
    failed: dict[Cell, str]
    compared: list[expected.ExpectedValue]


def resolver(
    log: str, path: str | None, columns: str | None, items: Path | None, embedder: str | None,
    work_dir: Path | None, assignments: list[str] | None,
) -> Resolve:  # fmt: skip
    """How a cell's settings come about: the user's options over those of the experiment."""

    mine: Overrides = {
        "log": {"name": log, "path": path, "columns": columns, "items": items},
        "embedder": {} if embedder is None else {"backend": embedder},
        **({} if work_dir is None else {"work_dir": work_dir}),
    }

    def resolve(overrides: Overrides, seed: int) -> CellSettings:
        return settings_over(merge(overrides, mine) | {"seed": seed}, assignments)

    return resolve


async def run_experiment(
    experiment: Experiment, request: Request, resolve: Resolve, console: Console
) -> Outcome:
    """Compute what is missing, then make the record of everything there is.

    Raises:
        ConfigError: the code was changed, or settings are wrong.
        DataError: the log is malformed, or no cell could be computed.
    """
    if not (request.allow_dirty or request.quick):
        refuse_changed_code()
    settings = resolve({"log": experiment.logs.get(request.log, {}).get("log", {})}, 0)
    loaded = await read_log(settings, ConsoleProgress(console))
    print_log(console, loaded)
    everything = _plan(experiment, request, resolve, loaded)
    seeds = 1 if request.quick else request.seeds
    asked = set(
        expand(
            experiment,
            request.log,
            profiles=request.profiles,
            seeds=seeds,
            variants=request.variants,
        )
    )
    store = CellStore(settings.work_dir / "experiments")
    code = provenance.code_hash(request.study)
    finished = {p.cell: found for p in everything if (found := store.find(p)) is not None}
    outdated = {cell for cell, found in finished.items() if found.info.run.code != code}
    if outdated:
        fate = "they are kept" if request.keep_outdated else "those asked for are computed again"
        console.print(
            marked(
                "[yellow]note[/] computed by other code (now {}): {} finished before; {}",
                code,
                len(outdated),
                fate,
            )
        )
    valid = finished if request.keep_outdated else {
        cell: found for cell, found in finished.items() if cell not in outdated
    }  # fmt: skip
    todo = [p for p in everything if p.cell in asked and p.cell not in valid]
    failed = await _compute(experiment, request, todo, len(asked) - len(todo), store, code,
                            settings, console)  # fmt: skip
    pairs = _finished(everything, store, code if not request.keep_outdated else None)
    policy = policy_of(settings, loaded)
    record = aggregate(experiment, loaded, policy, pairs)
    return _publish(experiment, request, record, settings, failed)


def refuse_changed_code() -> None:
    """Raise ConfigError if the code differs from the commit."""
    if changed := provenance.changed_code():
        more = len(changed) - SHOWN_FILES
        shown = ", ".join(changed[:SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
        raise ConfigError(
            f"the code differs from the commit ({shown}), so nobody could repeat this run; commit "
            "it, or run with --allow-dirty, which the record will say"
        )


def _plan(
    experiment: Experiment, request: Request, resolve: Resolve, log: InteractionLog
) -> list[PlannedCell]:
    """All cells the record may hold: those of the experiment, and those asked for beyond it."""
    from training.stages.content import fingerprint

    seeds = max(experiment.seeds, request.seeds or 0)
    profiles = tuple(dict.fromkeys((*experiment.profiles, *(request.profiles or ()))))
    cells = list(expand(experiment, request.log, profiles=profiles, seeds=seeds))
    return plan(experiment, cells, resolve, fingerprint(log), quick=request.quick)


async def _compute(
    experiment: Experiment,
    request: Request,
    todo: Sequence[PlannedCell],
    reused: int,
    store: CellStore,
    code: str,
    settings: CellSettings,
    console: Console,
) -> dict[Cell, str]:
    logs = settings.work_dir / "experiments" / "serve"

    @asynccontextmanager
    async def serve(wanted: CellSettings) -> AsyncIterator[str]:
        async with served_embedder(
            wanted,
            logs=logs,
            progress=ConsoleProgress(console),
            console=console,
            allow_fallback=False,
        ) as served:
            if served.settings.url is None:
                raise ConfigError(f"the {wanted.embedder.backend} back end has no server to share")
            yield served.settings.url

    if not todo:
        console.print(f"· nothing to compute: {reused} finished before")
        return {}
    processes = min(request.processes, len(todo))
    overview = CellOverview(console, total=len(todo), reused=reused, processes=processes)
    runner = Runner(
        store=store,
        experiment=experiment.cells_of,
        study=request.study,
        servers=SharedServers(serve),
        overview=overview,
        processes=processes,
        # Several cells share the cores; one alone may use what the settings give it.
        threads=1 if processes > 1 else settings.training.threads,
        revision=provenance.revision(),
        code=code,
        scratch=settings.work_dir / "experiments" / ".processes",
    )
    with overview:
        return await runner.run(todo)


def _finished(
    planned: Sequence[PlannedCell], store: CellStore, code: str | None
) -> list[tuple[Cell, FinishedCell]]:
    found = ((p.cell, store.find(p)) for p in planned)
    return [
        (cell, finished)
        for cell, finished in found
        if finished is not None and (code is None or finished.info.run.code == code)
    ]


def _publish(
    experiment: Experiment,
    request: Request,
    record: Record,
    settings: CellSettings,
    failed: dict[Cell, str],
) -> Outcome:
    results = request.results
    if request.quick:
        results = settings.work_dir / "experiments" / "quick"
    path = publish.record_path(results, experiment.name, record.log)
    if request.add and path.exists():
        record = added(experiment, record, read_record(path))
    write_record(record, path)
    record = read_record(path)  # rounded, as every table will show it
    changed = publish.regenerate(results, [experiment.name])
    compared: list[expected.ExpectedValue] = []
    if not request.quick:
        compared = expected.compare(experiment, record, expected.path_of(experiment))
    return Outcome(record=record, path=path, changed=changed, failed=failed, compared=compared)
