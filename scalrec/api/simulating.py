"""simulate: a fleet of devices over a log; read_records: what a run wrote down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Unpack

import polars as pl

from loadtest.records import record_table
from loadtest.records.evidence_records import FULL, PAPER
from loadtest.records.recorder import REFRESHES, REQUESTS
from reports.summary.build import read_summary
from reports.summary.model import Summary
from scalrec.api.log import Log, source_of
from scalrec.api.options import Assignments, Options, PathLike, console_for, settings_for
from scalrec.api.running import run_job
from scalrec.folders import latest_run
from shared.errors import DataError

Kind = Literal["requests", "refreshes", "paper", "full"]
_FILES: dict[Kind, str] = {
    "requests": REQUESTS,
    "refreshes": REFRESHES,
    "paper": PAPER,
    "full": FULL,
}


@dataclass(frozen=True)
class SimulatedRun:
    """A run that ended.

    Attributes:
        folder: its records, figures and report.
        notes: what it says of itself.
        failures: why its figures are not to be trusted; empty if they are.
    """

    folder: Path
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    @property
    def summary(self) -> Summary:
        """Every figure of the report."""
        return read_summary(self.folder)


def simulate(
    log: Log | PathLike = "movielens-100k",
    *,
    fallback: bool = True,
    settings: Assignments | None = None,
    verbose: bool = False,
    **options: Unpack[Options],
) -> SimulatedRun:
    """As `scalrec simulate`: train, replay a log's users as devices against a cloud, and report.

    On the wall clock it starts Redis and the cloud service as processes of their own, and stops
    them. With ``{"replay.clock": "virtual"}`` all runs inside this process, without sockets or
    waiting.

    Args:
        log: as ``load_log`` gave it, or its name or file.
        fallback: use transformers where vLLM is not installed.
        settings: by full names, e.g. ``{"replay.users": 50, "device.policy": "drift"}``.
        verbose: print progress.
        options: see ``Options``.

    Raises:
        ScalrecError: whatever part failed, with what to do.
    """
    # Here, not above: torch is loaded for training only, and reading records does without it.
    from scalrec.jobs.simulation import Simulation

    cloud = {"port": 0} if verbose else {"port": 0, "log_level": "warning"}
    chosen = settings_for(source_of(log), settings, options, cloud=cloud)
    simulation = Simulation(chosen, console_for(verbose), allow_fallback=fallback)
    folder = run_job(simulation.run())
    return SimulatedRun(folder, tuple(simulation.notes), tuple(simulation.failures))


def read_records(
    run: SimulatedRun | PathLike | None = None, kind: Kind = "requests"
) -> pl.DataFrame:
    """The records of a run, one row each; their columns are told in docs/python-api.md.

    Args:
        run: what ``simulate`` gave, or a run's folder; None: the latest under ``work_dir``.
        kind: requests or refreshes of the replay; paper or full: of controlled staleness.

    Raises:
        ConfigError: there is no run.
        DataError: the run has no such records, or they are not as the run wrote them.
    """
    if run is None:
        folder = latest_run(settings_for({}, None, {}).work_dir)
    else:
        folder = run.folder if isinstance(run, SimulatedRun) else Path(run)
    if kind not in _FILES:
        raise DataError(f"there are no records called {kind!r}: name one of {', '.join(_FILES)}")
    path = folder / _FILES[kind]
    frame = record_table.read_records(path, ())
    if frame is None:
        raise DataError("the run has no such records, or is not finished", path)
    return frame
