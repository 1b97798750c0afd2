"""The folder of a run that may be cut short: it says so, or leaves nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from loadtest.replay.run_info import RUN_FILE, read_run_info, write_run_info
from scalrec.folders import new_run_dir
from shared.errors import DataError

CUT_SHORT = "CUT-SHORT.txt"
_LONGEST = 400


@contextmanager
def run_folder(work_dir: Path, name: str, now: datetime) -> Iterator[Path]:
    """A new folder for the block, as ``new_run_dir`` makes it.

    A block that is cut short leaves a folder whose run.json says so; one that had written nothing
    of its own yet leaves no folder, or, beside logs, a line in CUT-SHORT.txt.

    Raises ConfigError if the folder cannot be made.
    """
    run_dir = new_run_dir(work_dir, name, now)
    try:
        yield run_dir
    except BaseException as error:
        with suppress(OSError, DataError):  # a full disk must not hide what went wrong
            _settle(run_dir, _reason(error))
        raise


def _settle(run_dir: Path, reason: str) -> None:
    if (run_dir / RUN_FILE).exists():
        info = read_run_info(run_dir)
        told = (*info.run_failures, f"the run did not come to its end: {reason}")
        write_run_info(run_dir, info.model_copy(update={"run_failures": told}))
    elif any(path.is_file() for path in run_dir.rglob("*")):
        (run_dir / CUT_SHORT).write_text(f"cut short before it recorded anything: {reason}\n")
    else:
        shutil.rmtree(run_dir)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        return "interrupted"
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
