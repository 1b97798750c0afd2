"""`scalrec loadtest`: named scenarios of faults and traffic, run and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from loadtest.scenarios.load import load_scenario, scenario_names
from scalrec.console import make_console, print_settings
from scalrec.jobs.scenario_session import Setup, run_scenarios
from scalrec.options import Given, options
from scalrec.running import run_command
from shared.errors import ConfigError

app = typer.Typer(
    help="Take the cloud away in a scripted way, and judge what devices made of it.",
    no_args_is_help=True,
)


@app.command("list")
def list_scenarios() -> None:
    """The scenarios that come with scalrec, and what happens in each."""
    table = Table(box=None, title="Scenarios", title_justify="left")
    for name in ("name", "seconds", "devices", "policy", "faults", "what happens"):
        table.add_column(name)
    for name in scenario_names():
        scenario = load_scenario(name)
        policy = " ".join(
            str(scenario.device[key])
            for key in ("policy", "k", "ttl_s", "budget", "budget_scope")
            if key in scenario.device
        )
        table.add_row(
            name,
            f"{scenario.duration_s:g}",
            f"{scenario.users:,}",
            policy,
            str(len(scenario.script())),
            scenario.description,
        )
    make_console().print(table)


@app.command("run")
@options(
    "scenarios every virtual cloud fault_proxy fault_proxy_token log columns items bundle embedder "
    "model users seed work_dir fallback docs assignments"
)
def run(
    given: Given,
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="Names (`scalrec loadtest list`) or YAML files.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that come with scalrec.")] = False,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="On a virtual clock, in one process, in seconds.")
    ] = False,
    cloud: Annotated[
        str | None,
        typer.Option(
            help="A cloud that runs already, through its fault proxy; else one is started here.",
            envvar="SCALREC_LOADTEST_CLOUD",
        ),
    ] = None,
    fault_proxy: Annotated[
        str | None,
        typer.Option(
            help="Control address of the fault proxy before that cloud (Toxiproxy's API); of "
            "several, one a hop, with commas between.",
            envvar="SCALREC_LOADTEST_FAULT_PROXY",
        ),
    ] = None,
    fault_proxy_token: Annotated[
        Path | None,
        typer.Option(help="File with the token of that control address, if it has one."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to use as it is (default: train what is missing).")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Devices, instead of the scenario's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the scenario's.")] = None,
    fallback: Annotated[
        bool, typer.Option(help="Use transformers where vLLM is not installed, and say so.")
    ] = True,
    docs: Annotated[
        Path | None, typer.Option(help="Put the figures into docs/ of this checkout.")
    ] = None,
) -> None:
    """Run scenarios; exit code 1 if a request went unanswered or a history does not hold."""
    names = scenario_names() if every else list(scenarios or ())
    if not names:
        raise ConfigError("name a scenario (`scalrec loadtest list` shows them), or give --all")
    if virtual and cloud:
        raise ConfigError("--virtual runs the cloud inside this process: leave --cloud out")
    if fault_proxy and not cloud:
        raise ConfigError("--fault-proxy stands before a cloud: name it with --cloud")
    if fault_proxy_token and not fault_proxy:
        raise ConfigError("--fault-proxy-token is that of a --fault-proxy: name both")
    chosen = [load_scenario(name).changed(users=users, seed=seed) for name in names]
    settings = given()
    console = make_console()
    print_settings(console, settings)
    choice = Setup(
        virtual=virtual,
        cloud=cloud,
        fault_proxy=fault_proxy,
        bundle=bundle,
        fallback=fallback,
        docs=docs,
        proxy_token=fault_proxy_token,
    )
    run_command(run_scenarios(chosen, settings, choice, console))
