"""Latency percentiles of device requests and cloud refreshes."""

from __future__ import annotations

import numpy as np
import polars as pl

from loadtest.records.latency import Latency, percentiles
from loadtest.records.record_table import numbers
from reports.summary.model import LatencyCurve

SCHEDULED = "request, from its scheduled time"
SERVICE = "request, from its actual start"
REFRESH = "refresh"
# Dense where it matters, in the tail.
SHARES = tuple(
    np.unique(
        np.concatenate(
            [np.linspace(0.01, 0.9, 60), 1 - np.logspace(-1, -4, 40), [0.5, 0.95, 0.99, 0.999, 1.0]]
        ).round(6)
    ).tolist()
)


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


def curves(frame: pl.DataFrame) -> tuple[LatencyCurve, ...]:
    """Latency distributions of requests, from schedule and from start (nearest rank)."""
    found = []
    for what, column in ((SCHEDULED, "latency_scheduled_ms"), (SERVICE, "latency_service_ms")):
        values = numbers(frame, column)
        values = values[np.isfinite(values)]
        if values.size:
            # Few requests tell nothing of shares near 1: leave out those beyond one request.
            shares = [s for s in SHARES if s == 1.0 or s <= 1 - 1 / values.size]
            ms = np.quantile(values, shares, method="inverted_cdf").tolist()
            found.append(LatencyCurve(what=what, share=tuple(shares), ms=tuple(ms)))
    return tuple(found)
