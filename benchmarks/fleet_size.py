"""One large fleet on the virtual clock: `python -m benchmarks.fleet_size BUNDLE`.

`make bench` has it if asked, as it takes from minutes to an hour. Its users are those of the
bundle's log again and again; its cloud is in the process, with an embedder that costs nothing.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.children import memory_line, run_python
from benchmarks.replay import DEVICES, KIB, repeated, replay_alone
from benchmarks.timing import BenchmarkLine
from scalrec.console import ConsoleProgress, make_console
from scalrec.options import Given, options
from scalrec.settings import Settings
from shared.bundle import Bundle, load_bundle
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import split_log
from shared.strict import Strict
from training.data.registry import load_log

STEPS = 100


class FleetSize(Strict):
    """What a fleet took.

    Attributes:
        devices, requests, refreshes: in the window.
        minutes: real ones of the window.
        state_kib: mean memory of one device for itself.
        peak_mib: most memory that the process ever held.
    """

    devices: int
    requests: int
    refreshes: int
    minutes: float
    state_kib: float
    peak_mib: float


def measure(
    settings: Settings,
    log: InteractionLog,
    bundle: Bundle,
    *,
    devices: int,
    steps: int,
    progress: Progress,
) -> FleetSize:
    """Replay the last ``steps`` events of ``devices`` users, records included."""
    many = repeated(log, devices, test_steps=steps)
    replay = settings.replay.model_copy(update={"steps": steps})
    wanted = settings.model_copy(update={"replay": replay, "profile": bundle.manifest.profile})
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        result, _ = replay_alone(
            wanted,
            many,
            split_log(many, test_steps=steps),
            bundle,
            devices,
            Path(folder) / "run",
            progress=progress,
        )
        taken_s = time.monotonic() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return FleetSize(
        devices=result.users,
        requests=result.requests,
        refreshes=result.refreshes,
        minutes=round(taken_s / 60.0, 2),
        state_kib=round(result.state_kib, 1),
        peak_mib=round(peak_kib / KIB, 1),
    )


def compare_fleet(
    settings: Settings, bundle: Bundle, *, devices: int = DEVICES, steps: int = STEPS
) -> BenchmarkLine:
    """Peak memory of a whole process with the fleet, against one where each device asks once."""
    log = settings.log
    command = ["-m", "benchmarks.fleet_size", str(bundle.path), "--devices", str(devices)]
    command += ["--log", str(log.path or log.name)]
    command += [] if log.columns is None else ["--columns", log.columns]
    command += [] if log.items is None else ["--items", str(log.items)]
    once, whole = (run_python([*command, "--steps", str(n)]) for n in (1, steps))
    fleet = f"{devices:,} devices, {devices * steps:,} requests in {whole.seconds / 60.0:.1f} min"
    name = f"{fleet}: memory / that of one request each"
    return memory_line(name, whole, once, "lower, 1: flat in requests")


@options("bundle devices steps log columns items work_dir assignments")
def fleet_size(
    given: Given,
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle that was made from the log.")],
    devices: Annotated[int, typer.Option(help="Devices in the fleet.")] = DEVICES,
    steps: Annotated[int, typer.Option(help="Requests of each, its user's last events.")] = STEPS,
) -> None:
    """Replay a fleet of any size on the virtual clock and say what it took."""
    settings, progress = given(), ConsoleProgress(make_console())
    log = load_log(settings.log, cache=settings.cache, progress=progress)
    found = measure(
        settings, log, load_bundle(bundle), devices=devices, steps=steps, progress=progress
    )
    typer.echo(found.model_dump_json(indent=1))


if __name__ == "__main__":
    typer.run(fleet_size)
