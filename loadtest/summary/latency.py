"""Latency percentiles of device requests and cloud refreshes."""

from __future__ import annotations

import numpy as np
import polars as pl

from loadtest.summary.model import Latency
from loadtest.summary.records import Float, numbers

SCHEDULED = "request, from its scheduled time"
SERVICE = "request, from its actual start"
REFRESH = "refresh"


def latencies(frame: pl.DataFrame, refreshes: pl.DataFrame) -> tuple[Latency, ...]:
    """Requests from schedule (no coordinated omission) and from start; refreshes by outcome."""
    rows = [
        percentiles(SCHEDULED, numbers(frame, "latency_scheduled_ms")),
        percentiles(SERVICE, numbers(frame, "latency_service_ms")),
    ]
    if not refreshes.is_empty():
        rows.append(percentiles(f"{REFRESH}, all", numbers(refreshes, "latency_ms")))
        for outcome in sorted(refreshes["outcome"].unique().to_list()):
            chosen = refreshes.filter(pl.col("outcome") == outcome)
            rows.append(percentiles(f"{REFRESH}, {outcome}", numbers(chosen, "latency_ms")))
    return tuple(rows)


def percentiles(what: str, values_ms: Float) -> Latency:
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
