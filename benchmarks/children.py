"""Time and memory of whole commands, each in a process of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024.0  # in KiB, as Linux counts the memory of a child


@dataclass(frozen=True, slots=True)
class Ended:
    """What one process took: wall time, and the most memory that it held."""

    seconds: float
    mib: float


def run_python(arguments: Sequence[str]) -> Ended:
    """Run this Python with ``arguments``; what it prints is thrown away.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {child.returncode}")
    return Ended(time.perf_counter() - started, usage.ru_maxrss / MIB)


def alternated(
    ours: Sequence[str], theirs: Sequence[str], *, rounds: int
) -> tuple[Ended, Ended, float]:
    """Medians of both, and the median ratio of their times; one round of each comes before."""
    runs = [(run_python(ours), run_python(theirs)) for _ in range(rounds + 1)][1:]
    sides = [
        Ended(statistics.median(e.seconds for e in side), statistics.median(e.mib for e in side))
        for side in zip(*runs, strict=True)
    ]
    return sides[0], sides[1], statistics.median(a.seconds / b.seconds for a, b in runs)
