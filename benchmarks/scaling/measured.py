"""Time and peak memory of a piece of work, within this process (Linux)."""

from __future__ import annotations

import ctypes
import gc
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.scaling.curve import Point

Work = Callable[[], object]
ENOUGH_S, MOST_CALLS = 0.5, 25
LONG_S = 2.0  # so long a first call needs no warming up, and none after it
_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5), clear_refs
MIB = 1024.0


def measured(size: int, lay_out: Callable[[int], Work]) -> Point:
    """Lay a work out at ``size``, call it once to warm up, then take its processor time.

    It is called until half a second is spent, at most ``MOST_CALLS`` times. Others who use the
    machine lengthen wall time, and processor time hardly.
    """
    _give_back()
    _REFS.write_text(_RESET_PEAK)
    before = _kib("VmRSS")
    work = lay_out(size)
    first = _took(work)
    took: list[float] = [first] if first > LONG_S else []
    while sum(took) < ENOUGH_S and len(took) < MOST_CALLS:
        took.append(_took(work))
    grown = max(0.0, (_kib("VmHWM") - before) / MIB)
    return Point(size=size, seconds=statistics.median(took), mib=round(grown, 1))


def _took(work: Work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _give_back() -> None:
    """What the process holds and does not use goes back, or the next point would not grow by it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _kib(field: str) -> float:
    found = re.search(rf"^{field}:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} does not tell {field}; this needs Linux")
    return float(found[1])
