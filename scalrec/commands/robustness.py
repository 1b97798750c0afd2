"""`scalrec robustness`: scenarios x faults x seeds, every history checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.replay.run_info import git_revision
from loadtest.scenarios.load import load_scenario
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.page import PAGE
from loadtest.scenarios.robustness_record import (
    RobustnessHead,
    RobustnessRecord,
    RunLine,
    add_line,
    read_lines,
    robustness_rows,
)
from loadtest.scenarios.verdict import ScenarioVerdict
from reports.documents import RECORDS, regenerate
from reports.marked import marked
from scalrec.console import ConsoleProgress, make_console, print_settings, print_verdict
from scalrec.jobs.robustness import claim_folder, run_parts, run_varied, variations
from scalrec.jobs.run_folder import run_folder
from scalrec.jobs.scenario_session import Rig, Setup, open_stage
from scalrec.options import (
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from shared.errors import ConfigError
from shared.files import write_whole
from shared.progress import NullProgress

SOCKET_SCENARIOS = (
    "brown-out", "redis-restart", "freeze", "network-cut", "replica-killed", "redis-failover",
    "rolling-update", "silent-connections", "clock-steps",
)  # fmt: skip
RECORD = "robustness.json"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Batch:
    """What is to be run: ``part`` (k, n) takes every n-th variation from the k-th."""

    count: int
    sockets: int
    seed: int
    jobs: int
    bundle: Path | None
    resume: Path | None
    docs: Path | None
    part: tuple[int, int] | None

    def setup(self, *, virtual: bool) -> Setup:
        return Setup(
            virtual=virtual,
            cloud=None,
            fault_proxy=None,
            bundle=self.bundle,
            fallback=True,
            docs=None,
        )

    def virtual(self, done: set[int]) -> Iterator[tuple[int, Scenario]]:
        """Variations for the virtual clock that are still to be run, with their numbers."""
        first, step = self.part or (0, 1)
        for number, scenario in enumerate(variations(self.count, self.seed)):
            if number % step == first and number not in done:
                yield number, scenario

    def on_sockets(self, done: set[int]) -> Iterator[tuple[int, Scenario]]:
        for number in range(self.sockets):
            if number not in done:
                name = SOCKET_SCENARIOS[number % len(SOCKET_SCENARIOS)]
                yield number, load_scenario(name).changed(seed=self.seed + number)


@options(
    "count sockets jobs resume docs part seed log columns items bundle embedder model work_dir "
    "assignments"
)
def robustness(
    given: Given,
    count: Annotated[int, typer.Option(min=0, help="Runs on the virtual clock.")] = 100,
    sockets: Annotated[
        int, typer.Option(min=0, help="Runs on real processes and sockets, a minute or two each.")
    ] = 1,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the runs on the virtual clock.")
    ] = 1,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of an interrupted batch to go on with.")
    ] = None,
    docs: Annotated[
        Path | None, typer.Option(help="Put the sums into docs/ of this checkout.")
    ] = None,
    part: Annotated[str | None, typer.Option(hidden=True)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first run; the next has one more.")] = 0,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to use as it is (default: train what is missing).")
    ] = None,
) -> None:
    """Run varied scenarios and hold every history against the model; exit code 1 if one fails.

    A run that fails keeps its folder: records, history.html and the scenario that made it, which
    `scalrec loadtest run FILE --virtual` runs again. What was interrupted goes on with --resume.
    """
    settings = given()
    console = make_console()
    print_settings(console, settings)
    batch = Batch(
        count=count,
        sockets=sockets,
        seed=seed,
        jobs=jobs,
        bundle=bundle,
        resume=resume,
        docs=docs,
        part=_part(part),
    )
    run_command(_robustness(settings, console, batch))


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, step = text.partition("/")
    if not (first.isdecimal() and step.isdecimal() and int(first) < int(step)):
        raise ConfigError(f"--part is K/N with K below N, not {text!r}")
    return int(first), int(step)


async def _robustness(settings: Settings, console: Console, batch: Batch) -> None:
    if batch.resume is not None:
        if not batch.resume.is_dir():
            raise ConfigError(f"--resume names {batch.resume}, and there is no such folder")
        findings = await _run_all(settings, console, batch, batch.resume)
    else:
        with run_folder(settings.work_dir, "robustness", datetime.now(UTC)) as folder:
            findings = await _run_all(settings, console, batch, folder)
    if findings:
        raise typer.Exit(1)


async def _run_all(settings: Settings, console: Console, batch: Batch, folder: Path) -> int:
    """The batch into ``folder``; how many runs did not hold, 0 for a part of a batch."""
    if batch.part is None:
        console.print(f"runs in {folder}; if interrupted, go on with --resume {folder}")
    head = None
    for virtual in (True, False):
        if not (batch.count if virtual else batch.sockets):
            continue
        async with open_stage(settings, batch.setup(virtual=virtual), console) as stage:
            head = _head(stage, settings, batch)
            if batch.part is None:  # whoever started a part has claimed it for all
                claim_folder(folder, head)
            if virtual and batch.jobs > 1:
                shared = settings
                if stage.embedder is not None:
                    shared = settings.model_copy(update={"embedder": stage.embedder})
                await run_parts(
                    shared,
                    stage.bundle.path,
                    folder,
                    count=batch.count,
                    seed=batch.seed,
                    jobs=batch.jobs,
                    progress=ConsoleProgress(console),
                )
            else:
                await _run_here(stage, settings, console, batch, folder, virtual=virtual)
    if head is None or batch.part is not None:
        return 0
    record = RobustnessRecord.of(head, read_lines(folder))
    write_whole(folder / SUMMARY, record.model_dump_json(indent=1) + "\n")
    for what, much in robustness_rows(record)[1]:
        console.print(f"{what:>36}  {much}", highlight=False)
    if batch.docs is not None:
        path = batch.docs / RECORDS / RECORD
        write_whole(path, record.model_dump_json(indent=1) + "\n")
        for changed in (path, *regenerate(batch.docs)):
            console.print(marked("[green]✓[/] {}", changed))
    return len(record.findings)


async def _run_here(
    stage: Rig, settings: Settings, console: Console, batch: Batch, folder: Path, *, virtual: bool
) -> None:
    """Make in this process what is still missing."""
    progress = ConsoleProgress(console)
    place = "virtual clock" if virtual else "local processes"
    done = {line.number for line in read_lines(folder) if line.place == place}
    chosen = list(batch.virtual(done) if virtual else batch.on_sockets(done))
    first, step = batch.part or (0, 1)
    name = f"virtual-{first}-{step}" if virtual else "sockets"

    async def run(scenario: Scenario, run_dir: Path) -> ScenarioVerdict:
        quiet = NullProgress() if virtual else progress
        return await stage.run(stage.prepare(scenario, settings, run_dir, quiet, virtual=virtual))

    with progress.task(f"scenarios on {place}", len(chosen)) as task:
        for number, scenario in chosen:
            run_dir = folder / f"{name.partition('-')[0]}-{scenario.seed}-{scenario.name}"
            outcome = await run_varied(scenario, run_dir, run)
            line = RunLine.of(number, scenario, outcome.verdict, outcome.spent_s)
            add_line(folder / f"{name}.jsonl", line)
            task.advance(1, scenario.name)
            if not outcome.verdict.passed:
                _complain(console, outcome.verdict, run_dir)


def _head(stage: Rig, settings: Settings, batch: Batch) -> RobustnessHead:
    return RobustnessHead(
        seed=batch.seed,
        log=stage.log.name,
        bundle_id=stage.bundle.id,
        embedder=stage.text_model(settings),
        revision=git_revision(),
    )


def _complain(console: Console, verdict: ScenarioVerdict, folder: Path) -> None:
    console.print(
        marked("[red]✗[/] {}, seed {}: {}", verdict.scenario, verdict.seed, folder / PAGE)
    )
    for violation in verdict.violations[:3]:
        console.print(f"    {violation.rule}: user {violation.user}, {violation.what}")
    print_verdict(console, (), verdict.failures)
