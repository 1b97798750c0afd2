"""A curve: what one piece of work takes at several sizes, and the power of the size it grows by."""

from __future__ import annotations

from typing import Literal

import numpy as np

from shared.strict import Strict

Along = Literal["items", "users", "window", "candidates"]


class Point(Strict):
    """One size of one work.

    Attributes:
        size: of what the curve is along.
        seconds: of processor time, all threads together; median of the calls that were timed.
        mib: most memory that the process held beyond what it held before the work was laid out;
            its inputs are part of it.
    """

    size: int
    seconds: float
    mib: float


class Curve(Strict):
    """One work along one size.

    Attributes:
        work: its name. told: what is done, in one sentence.
    """

    along: Along
    work: str
    told: str
    points: tuple[Point, ...]

    @property
    def exponent(self) -> float:
        """Of time over all sizes; small where fixed costs outweigh the small ones."""
        return slope([p.size for p in self.points], [p.seconds for p in self.points])

    @property
    def last_exponent(self) -> float:
        """Of time over the two largest sizes: what further growth costs."""
        first, last = self.points[-2:]
        return slope([first.size, last.size], [first.seconds, last.seconds])

    @property
    def memory_exponent(self) -> float:
        """Of memory over the two largest sizes; NaN where the process did not grow."""
        first, last = self.points[-2:]
        if min(first.mib, last.mib) <= 0.0:
            return float("nan")
        return slope([first.size, last.size], [first.mib, last.mib])


class ScalingRecord(Strict):
    """All curves of one run.

    Attributes:
        when: UTC. revision: of the code. machine: processor, cores and Python.
        instructions: that the processor has and the libraries use.
        memory_gib: of the machine. threads: of every library.
    """

    when: str
    revision: str | None
    machine: str
    instructions: tuple[str, ...]
    memory_gib: float
    threads: int
    curves: tuple[Curve, ...]


def slope(sizes: list[int], values: list[float]) -> float:
    """p of the power law value = c * size^p that fits best, by least squares of logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
