"""`scalrec simulate`: everything at once, what `make demo` runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from scalrec.console import make_console, print_settings
from scalrec.options import (
    DashboardOption,
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.stack.live_view import live_view


@options(
    "log columns items embedder model profile users duration clock k availability seed work_dir "
    "fallback dashboard assignments"
)
def simulate(
    given: Given,
    users: Annotated[int | None, typer.Option(help="Devices in the fleet.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds the replay lasts.")] = None,
    clock: Annotated[str | None, typer.Option(help="wall or virtual.")] = None,
    k: Annotated[int | None, typer.Option(help="Refresh after every k requests.")] = None,
    availability: Annotated[
        str | None, typer.Option(help="When the cloud is up: always, never or periodic.")
    ] = None,
    fallback: Annotated[
        bool, typer.Option(help="Use transformers where vLLM is not installed, and say so.")
    ] = True,
    dashboard: DashboardOption = None,
) -> None:
    """Train, start Redis, vLLM and the cloud, replay a fleet, and write the report.

    Finished stages are reused by later runs with the same settings. Everything that was started is
    stopped at the end, and on Ctrl-C. Exit code 1 if the run did not go as planned, so that its
    figures are not to be trusted; the report says why.
    """
    settings = given(
        device={"k": k},
        cloud={"port": 0},
        dashboard={"port": dashboard},
        replay={
            "users": users,
            "duration_s": duration,
            "clock": clock,
            "availability": {"kind": availability} if availability else None,
        },
    )
    console = make_console()
    print_settings(console, settings)
    run_command(_simulate(settings, console, fallback))


async def _simulate(settings: Settings, console: Console, fallback: bool) -> None:
    # Here, not above: torch is loaded for training only, and images that serve do without it.
    from scalrec.jobs.simulation import Simulation

    with live_view(settings, console) as live:
        simulation = Simulation(settings, console, allow_fallback=fallback, live=live)
        await simulation.run()
        if live is not None:
            await live.stay(console)
    if simulation.failures:
        raise typer.Exit(1)
