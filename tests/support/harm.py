"""Harm to the processes of a run: which is which, killed or stopped where it stands."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.support.runs_of_cli import PROC, TAG, CliRun

# What the command line of a part's program holds.
PROGRAMS = {"cloud": "\0serve\0", "store": "redis-server"}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def freeze(pid: int) -> None:
    """Stop it for good; whoever owns it kills it in the end."""
    os.kill(pid, signal.SIGSTOP)


def program_of(run: CliRun, part: str, timeout_s: float = 30.0) -> int:
    """Process id of the program of a part that ``run`` has started (not of its guard)."""
    give_up = time.monotonic() + timeout_s
    while True:
        for folder in PROC.iterdir():
            if folder.name.isdecimal() and _is_it(folder, run.tag, PROGRAMS[part]):
                return int(folder.name)
        assert time.monotonic() < give_up, f"no {part} of this run\n{run.text()[-3000:]}"
        time.sleep(0.05)


def _is_it(folder: Path, tag: str, words: str) -> bool:
    try:
        command = (folder / "cmdline").read_bytes().decode(errors="replace")
        if words not in command or "guard.py" in command:
            return False
        # Redis writes its title over its environment: its guard is asked in its place.
        parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        environs = [(place / "environ").read_bytes() for place in (folder, PROC / parent)]
    except OSError:
        return False
    return any(f"{TAG}={tag}".encode() in environ for environ in environs)
