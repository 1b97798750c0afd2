"""Time and memory of whole commands, each in a process of its own."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.timing import BenchmarkLine

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024.0  # in KiB, as Linux counts memory
LOOK_S = 0.005
COMPLAINTS = 4  # lines that are told
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    """What one process took: wall time, and the most memory that it was seen to hold (Linux)."""

    seconds: float
    mib: float


def run_python(arguments: Sequence[str]) -> Ended:
    """Run this Python with ``arguments``; what it prints is thrown away, unless it fails.

    Its peak is looked at while it runs: what the system tells afterwards counts the process that
    started it.

    Raises:
        RuntimeError: it failed; its last words are told.
    """
    started, kib = time.perf_counter(), 0
    with TemporaryFile("w+", errors="replace") as complaints:
        child = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=complaints
        )
        while child.poll() is None:
            kib = max(kib, _peak_kib(child.pid))
            time.sleep(LOOK_S)
        seconds = time.perf_counter() - started
        if child.returncode != 0:
            complaints.seek(0)
            why = " ".join(line.strip() for line in deque(complaints, maxlen=COMPLAINTS))
            end = f"ended with {child.returncode}" + (f": {why}" if why else "")
            raise RuntimeError(f"{' '.join(arguments)} {end}")
    return Ended(seconds, kib / MIB)


def _peak_kib(pid: int) -> int:
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0  # it has just ended
    return 0 if found is None else int(found[1])


def memory_line(name: str, ours: Ended, theirs: Ended, meaning: str) -> BenchmarkLine:
    """Peaks of two processes side by side."""
    return BenchmarkLine(
        name=name,
        ours=ours.mib,
        theirs=theirs.mib,
        unit="MiB",
        ratio=ours.mib / theirs.mib,
        meaning=meaning,
    )


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
