"""`scalrec robustness`: scenarios x faults x seeds, every history checked."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.scenarios.load import load_scenario
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.page import PAGE
from loadtest.scenarios.verdict import ScenarioVerdict
from scalrec.console import ConsoleProgress, make_console, print_settings, print_verdict
from scalrec.jobs.robustness import run_varied, variations
from scalrec.jobs.run_folder import run_folder
from scalrec.jobs.scenario_session import Setup, open_stage
from scalrec.options import (
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from shared.progress import NullProgress

SOCKET_SCENARIOS = ("brown-out", "redis-restart", "freeze", "network-cut", "replica-killed")


@options("count sockets seed log bundle embedder model work_dir assignments")
def robustness(
    given: Given,
    count: Annotated[int, typer.Option(min=0, help="Runs on the virtual clock.")] = 100,
    sockets: Annotated[
        int, typer.Option(min=0, help="Runs on real processes and sockets, a minute or two each.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first run; the next has one more.")] = 0,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to use as it is (default: train what is missing).")
    ] = None,
) -> None:
    """Run varied scenarios and hold every history against the model; exit code 1 if one fails.

    A run that fails keeps its folder: records, history.html and the scenario that made it, which
    `scalrec loadtest run FILE --virtual` runs again.
    """
    settings = given()
    console = make_console()
    print_settings(console, settings)
    run_command(_robustness(settings, console, count, sockets, seed, bundle))


async def _robustness(
    settings: Settings, console: Console, count: int, sockets: int, seed: int, bundle: Path | None
) -> None:
    with run_folder(settings.work_dir, "robustness", datetime.now(UTC)) as root:
        failed = await _run_all(root, settings, console, count, sockets, seed, bundle)
    if failed:
        raise typer.Exit(1)


async def _run_all(
    root: Path,
    settings: Settings,
    console: Console,
    count: int,
    sockets: int,
    seed: int,
    bundle: Path | None,
) -> list[Path]:
    """Run all of them below ``root``; returns the folders of those that were not passed."""
    progress = ConsoleProgress(console)
    failed: list[Path] = []
    ran: Counter[str] = Counter()
    on_sockets = [
        load_scenario(SOCKET_SCENARIOS[n % len(SOCKET_SCENARIOS)]).changed(seed=seed + n)
        for n in range(sockets)
    ]
    for virtual, chosen in ((True, list(variations(count, seed))), (False, on_sockets)):
        if not chosen:
            continue
        choice = Setup(
            virtual=virtual, cloud=None, fault_proxy=None, bundle=bundle, fallback=True, docs=None
        )
        async with open_stage(settings, choice, console) as stage:

            async def run(scenario: Scenario, run_dir: Path) -> ScenarioVerdict:
                quiet = NullProgress() if virtual else progress  # noqa: B023
                made = stage.prepare(scenario, settings, run_dir, quiet, virtual=virtual)  # noqa: B023
                return await stage.run(made)

            where = "virtual clock" if virtual else "real processes"
            with progress.task(f"scenarios on {where}", len(chosen)) as task:
                for scenario in chosen:
                    folder = root / f"{scenario.seed}-{scenario.name}"
                    outcome = await run_varied(scenario, folder, run)
                    ran[where] += 1
                    task.advance(1, scenario.name)
                    if not outcome.verdict.passed:
                        failed.append(folder)
                        _complain(console, outcome.verdict, folder)
    told = ", ".join(f"{n:,} on {where}" for where, n in ran.items())
    console.print(f"{told}: {len(failed):,} with a history that does not hold")
    return failed


def _complain(console: Console, verdict: ScenarioVerdict, folder: Path) -> None:
    console.print(f"[red]✗[/] {verdict.scenario}, seed {verdict.seed}: {folder / PAGE}")
    for violation in verdict.violations[:3]:
        console.print(f"    {violation.rule}: user {violation.user}, {violation.what}")
    print_verdict(console, (), verdict.failures)
