"""Interleaved timing: both sides of a ratio see the same noise of the same machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BenchmarkLine:
    """One line of the benchmark: ours against a peer or a limit.

    Attributes:
        name: what is compared.
        ours, theirs: medians in ``unit``.
        unit: unit of both.
        ratio: ours / theirs.
        meaning: how to read the ratio, e.g. "lower is better".
    """

    name: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    meaning: str

    @classmethod
    def timed(cls, name: str, found: tuple[float, float, float], meaning: str) -> BenchmarkLine:
        """The line of what ``interleaved`` found."""
        ours, theirs, ratio = found
        return cls(name=name, ours=ours, theirs=theirs, unit="µs", ratio=ratio, meaning=meaning)


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 30, calls: int = 20
) -> tuple[float, float, float]:
    """Median microseconds per call of both, and the median of the per-round ratios.

    The two alternate in short rounds, so a slow second of the machine slows both alike.
    """
    for function in (ours, theirs):
        for _ in range(calls):
            function()
    samples = np.empty((rounds, 2))
    gc.collect()
    for round_ in range(rounds):
        for side, function in enumerate((ours, theirs)):
            started = time.perf_counter_ns()
            for _ in range(calls):
                function()
            samples[round_, side] = (time.perf_counter_ns() - started) / calls / 1e3
    medians = np.median(samples, axis=0)
    return float(medians[0]), float(medians[1]), float(np.median(samples[:, 0] / samples[:, 1]))


async def alternating(
    name: str,
    ours: Callable[[], Awaitable[float]],
    theirs: Callable[[], Awaitable[float]],
    *,
    rounds: int,
) -> BenchmarkLine:
    """Requests per second of two servers, asked in turns after one round of each to warm up."""
    for rate in (ours, theirs):
        await rate()
    rates = np.array([[await ours(), await theirs()] for _ in range(rounds)])
    medians = np.median(rates, axis=0)
    ratio = float(np.median(rates[:, 0] / rates[:, 1]))
    return BenchmarkLine(
        name=name,
        ours=float(medians[0]),
        theirs=float(medians[1]),
        unit="requests/s",
        ratio=ratio,
        meaning="higher",
    )
