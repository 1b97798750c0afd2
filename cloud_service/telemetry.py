"""Telemetry: metrics and log lines of one app. Nothing here is global."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from cloud_service.limits import Limiter

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Prometheus metrics in a registry of their own, so that apps and tests never share any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "http_requests", "HTTP requests answered", "method", "route", "status"
        )
        self.request_seconds = Histogram(
            "scalrec_http_request_seconds",
            "Time to answer an HTTP request",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.embed_seconds = Histogram(
            "scalrec_embed_seconds",
            "Time from an abstract to e_sem",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.snapshots = self._counter(
            "snapshots",
            "Snapshots answered: fresh, newer (another request had stored one), stale, cached",
            "outcome",
        )
        self.coalesced = self._counter(
            "coalesced_requests", "Requests that joined a computation under way"
        )
        self.embedder_failures = self._counter(
            "embedder_failures", "Abstracts that could not be embedded", "kind"
        )
        self.store_failures = self._counter(
            "store_failures", "Store calls that failed", "operation"
        )
        self.rejected_blobs = self._counter(
            "rejected_blobs", "Stored blobs that were corrupt or not meant for the reader", "kind"
        )
        self.not_stored = self._counter(
            "snapshots_not_stored", "Fresh snapshots answered but not kept"
        )
        self.problems = self._counter("problems", "Problem answers", "type")

    def watch(self, limiter: Limiter) -> None:
        """Report how full the limiter is."""
        self.registry.register(_LimiterGauges(limiter))

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"scalrec_{name}", words, labels, registry=self.registry)


class _LimiterGauges(Collector):
    def __init__(self, limiter: Limiter):
        self._limiter = limiter

    def collect(self) -> list[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "scalrec_snapshot_computations", "Snapshot computations by state", labels=["state"]
        )
        gauge.add_metric(["in_flight"], self._limiter.in_flight)
        gauge.add_metric(["waiting"], self._limiter.waiting)
        return [gauge]


@dataclass(frozen=True)
class Telemetry:
    """What the parts of one app report to."""

    metrics: Metrics
    log: FilteringBoundLogger

    @classmethod
    def create(cls, *, level: str = "info", stream: TextIO | None = None) -> Telemetry:
        """Fresh metrics, and a logger to ``stream`` (default stderr): JSON, or words on a tty."""
        return cls(Metrics(), create_logger(level=level, stream=stream))


def create_logger(*, level: str = "info", stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger independent of structlog's global configuration. Levels as in ``logging``."""
    target = sys.stderr if stream is None else stream
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if target.isatty()
        else structlog.processors.JSONRenderer(sort_keys=True)
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(target),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    return logger
