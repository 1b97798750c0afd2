"""Latency percentiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.strict import Strict


class Latency(Strict):
    """Percentiles in milliseconds (nearest rank)."""

    what: str
    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


def percentiles(what: str, values_ms: NDArray[np.float64]) -> Latency:
    """Nearest-rank percentiles: each is a latency that really occurred."""
    values_ms = values_ms[np.isfinite(values_ms)]
    if values_ms.size == 0:
        return Latency(
            what=what, count=0, mean=None, p50=None, p90=None, p95=None, p99=None, max=None
        )
    p50, p90, p95, p99 = np.quantile(values_ms, [0.5, 0.9, 0.95, 0.99], method="inverted_cdf")
    return Latency(
        what=what,
        count=int(values_ms.size),
        mean=float(values_ms.mean()),
        p50=float(p50),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        max=float(values_ms.max()),
    )
