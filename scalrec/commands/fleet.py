"""`scalrec fleet`: a fleet of devices against a cloud that is already running."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from device_runtime.cloud.transport import HttpTransport, TransportError
from loadtest.replay.run_info import describe_run, write_run_info
from loadtest.replay.shards.outcome import failure_notes
from reports.run_report import report_run
from reports.summary.build import read_summary
from reports.terminal import print_summary
from scalrec.console import ConsoleProgress, make_console, print_settings
from scalrec.folders import bundle_dir, new_run_dir, point_latest
from scalrec.jobs.prepared import read_log
from scalrec.jobs.replaying import replay_notes, replay_over_http
from scalrec.on_ray.cluster import Cluster, open_cluster
from scalrec.on_ray.replaying import replay_on_ray
from scalrec.options import (
    DashboardOption,
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source, with_local_keys
from scalrec.stack.live_view import Live, live_view
from shared.addresses import masked_address
from shared.bundle import Manifest, load_bundle
from shared.errors import ConfigError
from shared.split import split_log
from training.background import in_thread

GREETING_TIMEOUT_S = 5.0


@options(
    "cloud log columns items profile bundle users duration seed work_dir dashboard ray shards "
    "assignments"
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
) -> None:
    """Replay a log as traffic of a fleet against `scalrec serve`, and report the replay.

    With --ray the devices are spread over a cluster; a shard that fails does not end the run, its
    requests count as unanswered, and the exit code is 1.
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
    if ray is not None:
        run_command(_on_ray(settings, url, bundle or bundle_dir(settings), ray, shards))
        return
    if shards is not None:
        raise ConfigError("--shards goes with --ray: one process serves the fleet without it")
    run_command(_watched(settings, url, bundle or bundle_dir(settings)))


async def _on_ray(
    settings: Settings, url: str, path: Path, address: str, shards: int | None
) -> None:
    if settings.dashboard.port is not None and settings.dashboard.push_url is None:
        raise ConfigError(
            "with --ray the live view is one that all shards can reach: start `scalrec dashboard` "
            "and set dashboard.push_url and dashboard.token"
        )
    settings = with_local_keys(settings, url)
    token_source(settings, time.time)
    console = make_console()
    print_settings(console, settings)
    with open_cluster(address, shards) as cluster:
        console.print(f"[green]✓[/] Ray cluster joined, {cluster.shards} shards at most")
        await _fleet(settings, url, path, console, None, cluster)


async def _watched(settings: Settings, url: str, path: Path) -> None:
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
    path: Path,
    console: Console,
    live: Live | None,
    cluster: Cluster | None = None,
) -> None:
    started = datetime.now(UTC)
    progress = ConsoleProgress(console)
    bundle = load_bundle(path)
    await _greet(console, url, bundle.id)
    log = await read_log(settings, progress)
    options = settings.training
    split = split_log(log, test_steps=options.test_steps, validation_steps=options.validation_steps)
    run_dir = new_run_dir(settings.work_dir, f"{settings.log.name}-fleet", started)
    as_served = _as_served(settings, bundle.manifest)
    info = describe_run(
        log,
        bundle.manifest,
        as_served,
        requested_backend=as_served.embedder.backend,
        started=started.isoformat(timespec="seconds"),
    )
    write_run_info(run_dir, info)  # first, so that a killed run can be reported on
    feed = None
    if live is not None:
        feed = live.feed(log, split, bundle.manifest, run_dir, started)
    failures: list[str] = []
    if cluster is None:
        result = await replay_over_http(
            settings, log, split, bundle, url, run_dir, progress=progress, feed=feed
        )
    else:
        result, outcomes = await in_thread(
            lambda stoppable: replay_on_ray(
                settings, cluster, log, split, bundle, url, run_dir, started, progress=stoppable
            ),
            progress,
        )
        failures = failure_notes(outcomes)
        write_run_info(run_dir, info.model_copy(update={"run_notes": tuple(failures)}))
    for failure in failures:
        console.print(f"[red]failed[/] {failure}", soft_wrap=True)
    for note in replay_notes(result):
        console.print(f"[yellow]note[/] {note}")
    report = report_run(run_dir)
    if live is not None:
        live.end()
    summary = read_summary(run_dir)
    point_latest(settings.work_dir, run_dir)
    print_summary(summary, console)
    console.print(f"[bold green]Report[/]  {report.absolute()}", soft_wrap=True)
    if failures:
        raise typer.Exit(1)


async def _greet(console: Console, url: str, bundle_id: str) -> None:
    """Refuse a cloud of another bundle before the replay; one that is away may come back.

    Raises:
        ConfigError: the cloud serves another bundle.
    """
    transport = HttpTransport(url)
    try:
        answer = await transport.request(
            "GET", "/v1/bundle", headers={}, content=b"", timeout_s=GREETING_TIMEOUT_S
        )
        served = json.loads(answer.content)["bundle_id"]
    except (TransportError, ValueError, KeyError, TypeError) as error:
        console.print(
            f"[yellow]note[/] no cloud answers at {masked_address(url)} ({error}); devices start "
            "without one"
        )
        return
    finally:
        await transport.aclose()
    if served != bundle_id:
        raise ConfigError(
            f"the cloud at {masked_address(url)} serves bundle {served}, the devices hold "
            f"{bundle_id}: name the same bundle on both sides with --bundle"
        )


def _as_served(settings: Settings, manifest: Manifest) -> Settings:
    """Settings that name the bundle's back end: which one to start was somebody else's choice."""
    embedder = settings.embedder.model_copy(update={"backend": manifest.embedder.backend})
    return settings.model_copy(update={"embedder": embedder})
