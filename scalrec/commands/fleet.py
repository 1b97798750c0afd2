"""`scalrec fleet`: a fleet of devices against a cloud that is already running."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtest.replay.run_info import describe_run, write_run_info
from loadtest.replay.shards.outcome import failure_notes
from loadtest.replay.soundness import replay_failures, replay_notes
from reports.marked import marked
from reports.run_report import report_run
from reports.summary.build import read_summary
from reports.terminal import print_summary
from scalrec.console import ConsoleProgress, make_console, print_settings, print_verdict
from scalrec.folders import point_latest
from scalrec.jobs.prepared import read_log
from scalrec.jobs.replaying import replay_over_http
from scalrec.jobs.run_folder import run_folder
from scalrec.options import (
    DashboardOption,
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.sharding.process_crew import ProcessCrew
from scalrec.sharding.ray_cluster import open_cluster
from scalrec.sharding.ray_crew import RayCrew
from scalrec.sharding.replaying import OpenCrew, replay_in_shards
from scalrec.stack.cloud_keys import token_source, with_local_keys
from scalrec.stack.greeting import CloudSilent, bundle_for_devices, greet
from scalrec.stack.live_view import Live, live_view
from scalrec.stack.readiness import Readiness
from scalrec.stack.watch import Watch, always, never, nothing_started
from shared.bundle import Bundle, Manifest, load_bundle
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.split import Split
from training.background import in_thread
from training.splitting import split_of


@options(
    "cloud log columns items profile bundle users duration seed work_dir dashboard processes ray "
    "shards assignments"
)
def fleet(
    given: Given,
    cloud: Annotated[
        str | None, typer.Option(help="Address of the cloud service (default: device.link.url).")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle of the devices (default: of log and profile).")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Devices in the fleet.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds the replay lasts.")] = None,
    dashboard: DashboardOption = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Replay on a Ray cluster: HOST:PORT of its head, auto, or local for one in this "
            "process. Log and bundle must lie at the same paths on all its nodes. Needs the extra "
            "scalrec[ray]."
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(help="With --ray: processes the users are dealt to (default: one per CPU)."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Deal the users to so many processes of this machine, best one a core."),
    ] = None,
) -> None:
    """Replay a log as traffic of a fleet against `scalrec serve`, and report the replay.

    With --ray the devices are spread over a cluster, with --processes over this machine's cores; a
    shard that fails does not end the run, its requests count as unanswered, and the exit code is 1.
    """
    settings = given(
        dashboard={"port": dashboard},
        replay={"users": users, "duration_s": duration, "clock": "wall"},
    )
    url = cloud or settings.device.link.url
    if url is None:
        raise ConfigError(
            "no cloud to replay against: give --cloud http://HOST:PORT, or set device.link.url"
        )
    if ray is not None and processes is not None:
        raise ConfigError("--ray and --processes are two ways to spread a fleet; give one of them")
    if ray is not None:
        run_command(_on_ray(settings, url, bundle, ray, shards))
        return
    if shards is not None:
        raise ConfigError("--shards goes with --ray; for processes of this machine: --processes")
    if processes is not None:
        run_command(_on_processes(settings, url, bundle, processes))
        return
    run_command(_watched(settings, url, bundle))


@dataclass(frozen=True, slots=True)
class _Spread:
    """How a fleet is spread: over how many shards at most, and what starts those of a run."""

    shards: int
    crew: Callable[[Path], OpenCrew]


async def _on_ray(
    settings: Settings, url: str, path: Path | None, address: str, shards: int | None
) -> None:
    settings, console = _prepared(settings, url, "--ray")
    with open_cluster(address, shards) as cluster:
        console.print(marked("[green]✓[/] Ray cluster joined, {} shards at most", cluster.shards))
        spread = _Spread(cluster.shards, lambda _: lambda orders: RayCrew(cluster, orders))
        await _fleet(settings, url, path, console, None, spread)


async def _on_processes(settings: Settings, url: str, path: Path | None, processes: int) -> None:
    if processes < 1:
        raise ConfigError("--processes must be 1 or more")
    settings, console = _prepared(settings, url, "--processes")

    def crew(run_dir: Path) -> OpenCrew:
        return lambda orders: ProcessCrew(orders, run_dir / "logs")

    await _fleet(settings, url, path, console, None, _Spread(processes, crew))


def _prepared(settings: Settings, url: str, option: str) -> tuple[Settings, Console]:
    """Settings for several processes, with keys; says now what would otherwise fail later."""
    if settings.dashboard.port is not None and settings.dashboard.push_url is None:
        raise ConfigError(
            f"with {option} the live view is one that all shards can reach: start `scalrec "
            "dashboard` and set dashboard.push_url and dashboard.token"
        )
    settings = with_local_keys(settings, url)
    token_source(settings, time.time)
    console = make_console()
    print_settings(console, settings)
    return settings, console


async def _watched(settings: Settings, url: str, path: Path | None) -> None:
    settings = with_local_keys(settings, url)
    token_source(settings, time.time)  # says now what would otherwise fail after loading the log
    console = make_console()
    print_settings(console, settings)
    with live_view(settings, console) as live:
        await _fleet(settings, url, path, console, live)
        if live is not None:
            await live.stay(console)


async def _fleet(
    settings: Settings,
    url: str,
    path: Path | None,
    console: Console,
    live: Live | None,
    spread: _Spread | None = None,
) -> None:
    started = datetime.now(UTC)
    progress = ConsoleProgress(console)
    bundle = load_bundle(path or await bundle_for_devices(settings, url))
    await _greet(settings, console, url, bundle.id)
    log = await read_log(settings, progress)
    split = split_of(log, settings.training)
    with run_folder(settings.work_dir, f"{settings.log.name}-fleet", started) as run_dir:
        failures = await _replay(
            settings, url, bundle, log, split, run_dir, started, console, live, spread
        )
    if failures:
        raise typer.Exit(1)


async def _replay(
    settings: Settings,
    url: str,
    bundle: Bundle,
    log: InteractionLog,
    split: Split,
    run_dir: Path,
    started: datetime,
    console: Console,
    live: Live | None,
    spread: _Spread | None,
) -> list[str]:
    """Replay into ``run_dir`` and report; returns why the figures are not to be trusted."""
    progress = ConsoleProgress(console)
    as_served = _as_served(settings, bundle.manifest)
    info = describe_run(
        log,
        bundle.manifest,
        as_served,
        split=split,
        served_by=as_served.embedder.backend,
        requested_backend=as_served.embedder.backend,
        started=started.isoformat(timespec="seconds"),
    )
    write_run_info(run_dir, info)  # first, so that a killed run can be reported on
    feed = None
    if live is not None:
        feed = live.feed(log, split, bundle.manifest, run_dir, started)
    failures: list[str] = []
    meant = always if settings.replay.availability.kind == "never" else never
    async with (
        Readiness(url, bundle.id) as readiness,
        Watch(nothing_started, readiness, meant) as watch,
    ):
        if spread is None:
            result = await replay_over_http(
                settings, log, split, bundle, url, run_dir,
                progress=progress, feed=feed, cloud_there=watch.cloud_there,
            )  # fmt: skip
        else:
            result, outcomes = await in_thread(
                lambda stoppable: replay_in_shards(
                    settings, spread.shards, spread.crew(run_dir), log, split, bundle, url,
                    run_dir, started, progress=stoppable,
                ),
                progress,
            )  # fmt: skip
            failures = failure_notes(outcomes)
    failures += [*watch.troubles, *replay_failures(result)]
    notes = replay_notes(result)
    told = {"run_notes": tuple(notes), "run_failures": tuple(failures)}
    write_run_info(run_dir, info.model_copy(update=told))
    report = report_run(run_dir)
    if live is not None:
        live.end()
    summary = read_summary(run_dir)
    point_latest(settings.work_dir, run_dir)
    print_summary(summary, console)
    print_verdict(console, notes, failures)
    console.print(marked("[bold green]Report[/]  {}", report.absolute()), soft_wrap=True)
    return failures


async def _greet(settings: Settings, console: Console, url: str, bundle_id: str) -> None:
    """Refuse a cloud that does not fit before the replay; one that is away may come back.

    Raises:
        ConfigError: the cloud serves another bundle, or does not accept the fleet's tokens.
    """
    try:
        await greet(settings, url, bundle_id)
    except CloudSilent as silent:
        console.print(marked("[yellow]note[/] {}; devices start without one", silent))


def _as_served(settings: Settings, manifest: Manifest) -> Settings:
    """Settings that name a back end of the bundle: who started which one is not known here."""
    backend = settings.embedder.serves(manifest.embedder.backend)
    embedder = settings.embedder.model_copy(update={"backend": backend})
    return settings.model_copy(update={"embedder": embedder})
