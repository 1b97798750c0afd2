"""One large fleet on the virtual clock: `python -m benchmarks.fleet_size BUNDLE`.

Apart from `make bench`, as it takes from minutes to an hour. Its users are those of the bundle's
log again and again; its cloud is in the process, with an embedder that costs nothing.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.replay import KIB, repeated, replay_alone
from scalrec.console import ConsoleProgress, make_console
from scalrec.options import Given, options
from scalrec.settings import Settings
from shared.bundle import Bundle, load_bundle
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import split_log
from shared.strict import Strict
from training.data.registry import load_log


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


@options("log columns items work_dir assignments")
def fleet_size(
    given: Given,
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle that was made from the log.")],
    devices: Annotated[int, typer.Option(help="Devices in the fleet.")] = 10_000,
    steps: Annotated[int, typer.Option(help="Requests of each, its user's last events.")] = 100,
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
