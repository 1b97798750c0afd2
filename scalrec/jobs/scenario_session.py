"""Several scenarios in a row on one log, bundle and embedder, each with a run folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from cloud_service.settings import EmbedderSettings
from loadtest.proxy.gate import read_token
from loadtest.replay.run_info import describe_run, git_revision, write_run_info
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.page import PAGE
from loadtest.scenarios.table import ScenarioRecord, read_scenario_record, scenario_rows
from loadtest.scenarios.verdict import ScenarioVerdict
from loadtest.settings import DashboardSettings
from reports.documents import RECORDS, regenerate
from reports.marked import marked
from reports.run_report import report_run
from scalrec.console import ConsoleProgress, print_verdict
from scalrec.folders import point_latest
from scalrec.jobs.prepared import prepared, read_log
from scalrec.jobs.replaying import embed_beforehand
from scalrec.jobs.run_folder import run_folder
from scalrec.jobs.scenario_run import ScenarioRun
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import with_local_keys
from scalrec.stack.greeting import bundle_for_devices
from scalrec.stack.live_view import live_view
from shared.bundle import Bundle, load_bundle
from shared.files import write_whole
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Split
from training.background import in_thread
from training.splitting import split_of

RECORD = "scenarios.json"


@dataclass(frozen=True)
class Setup:
    """Where and with what scenarios run.

    Attributes:
        cloud, fault_proxy: addresses of a stack that runs already; None starts one.
        bundle: to be used as it is.
        docs: checkout whose docs get the figures.
        proxy_token: file with the token of the fault proxy's API.
    """

    virtual: bool
    cloud: str | None
    fault_proxy: str | None
    bundle: Path | None
    fallback: bool
    docs: Path | None
    proxy_token: Path | None = None


@dataclass(frozen=True)
class Rig:
    """What scenarios run on; ``run`` runs one that was prepared.

    ``embedder`` has the address of the one that was started; None where somebody else's is used.
    """

    log: InteractionLog
    split: Split
    bundle: Bundle
    run: Callable[[ScenarioRun], Awaitable[ScenarioVerdict]]
    embedder: EmbedderSettings | None = None

    def served_by(self, settings: Settings) -> str:
        """The embedder's back end."""
        known = self.embedder or settings.embedder
        return known.serves(self.bundle.manifest.embedder.backend)

    def text_model(self, settings: Settings) -> str:
        """What serves the texts, in words for records."""
        return f"{self.served_by(settings)} {self.bundle.manifest.embedder.model}"

    def prepare(
        self,
        scenario: Scenario,
        settings: Settings,
        run_dir: Path,
        progress: Progress,
        *,
        virtual: bool,
    ) -> ScenarioRun:
        """Raises ConfigError or DataError if the scenario cannot be run with these settings."""
        return ScenarioRun.of(
            scenario,
            settings,
            self.log,
            self.split,
            self.bundle,
            run_dir,
            progress,
            virtual=virtual,
        )


async def run_scenarios(
    scenarios: Sequence[Scenario], settings: Settings, choice: Setup, console: Console
) -> None:
    """Run all of them and print their figures.

    Raises:
        typer.Exit: with code 1 if one was not passed.
        ScalrecError: whatever could not be run, with what to do.
    """
    if choice.cloud is not None:
        settings = with_local_keys(settings, choice.cloud)
    async with open_stage(settings, choice, console) as stage:
        verdicts = [await _run_one(s, settings, stage, choice, console) for s in scenarios]
        record = ScenarioRecord(
            log=stage.log.name,
            bundle_id=stage.bundle.id,
            embedder=stage.text_model(settings),
            revision=git_revision(),
            verdicts=tuple(verdicts),
        )
    _print(record, console)
    if choice.docs is not None:
        for changed in _update_docs(choice.docs, record):
            console.print(marked("[green]✓[/] {}", changed))
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)


@asynccontextmanager
async def open_stage(settings: Settings, choice: Setup, console: Console) -> AsyncIterator[Rig]:
    """What the choice asks for, started where need be; stopped on leaving."""
    progress = ConsoleProgress(console)
    url = choice.cloud
    if url is not None:
        log = await read_log(settings, progress)
        split = split_of(log, settings.training)
        bundle = load_bundle(choice.bundle or await bundle_for_devices(settings, url))
        token = None if choice.proxy_token is None else read_token(choice.proxy_token)
        yield Rig(
            log=log,
            split=split,
            bundle=bundle,
            run=lambda run: run.at(url, choice.fault_proxy, token),
        )
        return
    async with prepared(
        settings,
        console,
        bundle=choice.bundle,
        logs=settings.work_dir / "serve",
        allow_fallback=choice.fallback,
        serves=not choice.virtual,
    ) as made:

        async def virtually(run: ScenarioRun) -> ScenarioVerdict:
            known = await embed_beforehand(
                run.settings, made.log, made.split, made.bundle, made.client, progress=run.progress
            )
            return await in_thread(
                lambda stoppable: replace(run, progress=stoppable).on_the_virtual_clock(known),
                run.progress,
            )

        async def locally(run: ScenarioRun) -> ScenarioVerdict:
            return await run.on_local_processes(made.embedder)

        run = virtually if choice.virtual else locally
        yield Rig(
            log=made.log,
            split=made.split,
            bundle=made.bundle,
            run=run,
            embedder=made.embedder.settings,
        )


async def _run_one(
    scenario: Scenario, settings: Settings, stage: Rig, choice: Setup, console: Console
) -> ScenarioVerdict:
    started = datetime.now(UTC)
    console.rule(marked("[bold]{}[/]: {}", scenario.name, scenario.description), align="left")
    name = f"{stage.log.name}-{scenario.name}"
    with run_folder(settings.work_dir, name, started) as run_dir:
        return await _run_in(run_dir, started, scenario, settings, stage, choice, console)


async def _run_in(
    run_dir: Path,
    started: datetime,
    scenario: Scenario,
    settings: Settings,
    stage: Rig,
    choice: Setup,
    console: Console,
) -> ScenarioVerdict:
    progress = ConsoleProgress(console)
    run = stage.prepare(scenario, settings, run_dir, progress, virtual=choice.virtual)
    manifest = stage.bundle.manifest
    backend = run.settings.embedder.model_copy(update={"backend": stage.served_by(settings)})
    info = describe_run(
        stage.log,
        manifest,
        run.settings.model_copy(update={"embedder": backend}),
        split=stage.split,
        served_by=backend.backend,
        requested_backend=backend.backend,
        started=started.isoformat(timespec="seconds"),
    )
    write_run_info(run_dir, info)  # first, so that a killed run can be reported on
    with live_view(_shown(run.settings, choice), console) as live:
        if live is not None:
            feed = live.feed(
                stage.log, stage.split, manifest, run_dir, started, scenario=scenario.name
            )
            run = replace(run, feed=feed)
        verdict = await stage.run(run)
        write_run_info(run_dir, info.model_copy(update={"run_failures": verdict.failures}))
        report = report_run(run_dir)
        if live is not None:
            live.end()
    point_latest(settings.work_dir, run_dir)
    for violation in verdict.violations[:5]:
        console.print(
            marked("[red]✗ {}[/]: user {}, {}", violation.rule, violation.user, violation.what)
        )
    if verdict.violations:
        console.print(marked("[red]History[/] {}", (run_dir / PAGE).absolute()), soft_wrap=True)
    print_verdict(console, (), verdict.failures)
    console.print(marked("[green]Report[/]  {}", report.absolute()), soft_wrap=True)
    return verdict


def _shown(settings: Settings, choice: Setup) -> Settings:
    """Settings without a live view where there is nothing to watch: the virtual clock's seconds."""
    hidden = {"dashboard": DashboardSettings()} if choice.virtual else {}
    return settings.model_copy(update=hidden)


def _print(record: ScenarioRecord, console: Console) -> None:
    head, rows, caption = scenario_rows(record)
    table = Table(box=None, title="Scenarios", title_justify="left", caption=caption)
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _update_docs(root: Path, record: ScenarioRecord) -> list[Path]:
    path = root / RECORDS / RECORD
    if path.exists():
        record = read_scenario_record(path.read_text()).merged(record)
    write_whole(path, record.model_dump_json(indent=1) + "\n")
    return [path, *regenerate(root)]
