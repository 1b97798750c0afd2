"""The report of a run, with what the committed gates say of its log beside what it measured."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import experiments
from loadtest.replay.run_info import RunInfo, read_run_info
from reports.experiments.publish import record_path
from reports.page.build import build_report
from reports.page.judged import EXPERIMENT, JudgedRecord, NoRecord, read_judged
from shared.errors import DataError

RESULTS = Path("docs/results")
_LONGEST = 400  # characters of why a record was refused; a validator lists every single figure


def report_run(run_dir: Path) -> Path:
    """Draw report.html of a run folder; returns its path.

    Raises:
        DataError: the folder holds no run, or records that cannot be read.
    """
    return build_report(run_dir, gates_of(read_run_info(run_dir)))


def gates_of(run: RunInfo, folders: Sequence[Path] | None = None) -> JudgedRecord | NoRecord:
    """The gates record of a run's log; a damaged one costs the section, never the report.

    Args:
        folders: results folders, the first with a record wins; None: that of the working folder,
            where `scalrec experiment run` writes, then that of the checkout this code is part of.
    """
    log, command = run.log.get("log", ""), _command(run)
    if not log or Path(log).name != log:
        return NoRecord(log or "this log", command)
    for results in _folders() if folders is None else folders:
        path = record_path(results, EXPERIMENT, log)
        if path.exists():
            try:
                return read_judged(path, log, command)
            except DataError as error:
                return NoRecord(log, command, problem=_shortened(str(error)))
    return NoRecord(log, command)


def _folders() -> tuple[Path, ...]:
    return RESULTS, Path(experiments.__file__).resolve().parents[1] / RESULTS


def _command(run: RunInfo) -> str:
    """The command that judges the gates of the run's log, its own file and columns included."""
    log, given = run.log.get("log", ""), run.settings.get("log", {})
    named = f"{log}={given['path']}" if given.get("path") else log
    words = ["scalrec", "experiment", "run", EXPERIMENT, "--log", named or "LOG"]
    for option in ("columns", "items"):
        if given.get(option):
            words += [f"--{option}", str(given[option])]
    return shlex.join(words)


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST].rstrip()} …"
