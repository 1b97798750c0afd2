"""Metrics: what Prometheus sees of one app. Each one is specified once, here.

`python -m cloud_service.telemetry.metrics` prints docs/metrics.md; a test holds that file to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cloud_service.limits import DeviceRates, Limiter

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a metric is called, counts and means.

    Attributes:
        name: as Prometheus stores it; a counter's ends in ``_total``.
        kind: Prometheus type.
        unit: of its values.
        labels: in order.
        meaning: one sentence.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: tuple[str, ...]
    meaning: str


_COMPUTATIONS = MetricSpec(
    name="scalrec_snapshot_computations",
    kind="gauge",
    unit="computations",
    labels=("state",),
    meaning="Snapshot computations now: in_flight, or waiting for their turn",
)
_DEVICES = MetricSpec(
    name="scalrec_rate_limited_devices_tracked",
    kind="gauge",
    unit="devices",
    labels=(),
    meaning="Devices whose request rate is remembered",
)


class Metrics:
    """Prometheus metrics in a registry of their own, so that apps and tests never share any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.specs: list[MetricSpec] = []
        self.requests = self._counter(
            "http_requests",
            "requests",
            "HTTP requests answered, by route template",
            "method",
            "route",
            "status",
        )
        self.request_seconds = self._histogram(
            "http_request_seconds", "Time to answer an HTTP request", "route"
        )
        self.embed_seconds = self._histogram("embed_seconds", "Time from an abstract to e_sem")
        self.generate_seconds = self._histogram(
            "generate_seconds", "Time from item tokens to generated candidates"
        )
        self.candidates = self._counter(
            "candidates",
            "snapshots",
            "Snapshots computed, by where their candidates come from: semantic (as set), "
            "generative, or semantic because of no_tokens or generator_failed",
            "source",
        )
        self.snapshots = self._counter(
            "snapshots",
            "snapshots",
            "Snapshots answered: fresh, newer (another request had stored one), stale, cached",
            "outcome",
        )
        self.coalesced = self._counter(
            "coalesced_requests", "requests", "Requests that joined a computation under way"
        )
        self.embedder_failures = self._counter(
            "embedder_failures",
            "abstracts",
            "Abstracts that could not be embedded, by error",
            "kind",
        )
        self.store_failures = self._counter(
            "store_failures",
            "calls",
            "Store calls that failed: get or put, by the condition of the store (docs/redis.md)",
            "operation",
            "condition",
        )
        self.store_drops = self._counter(
            "store_connections_dropped",
            "times",
            "All connections to the store replaced and its address looked up anew, as after a "
            "failover, by the condition that showed it; unusable_value: what was read was no "
            "snapshot",
            "condition",
        )
        self.rejected_blobs = self._counter(
            "rejected_blobs",
            "blobs",
            "Stored blobs that were corrupt, or foreign (not meant for the reader)",
            "kind",
        )
        self.not_stored = self._counter(
            "snapshots_not_stored", "snapshots", "Fresh snapshots answered but not kept"
        )
        self.problems = self._counter(
            "problems",
            "answers",
            "Problem answers by type; refusals are in the audit log too",
            "type",
        )

        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, as ``requests`` and in ``request_seconds``."""
        # Finding a metric by its labels costs more than counting; there are few routes.
        found = self._answered.get((method, route, status))
        if found is None:
            found = (
                self.requests.labels(method, route, str(status)),
                self.request_seconds.labels(route),
            )
            self._answered[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def watch(self, limiter: Limiter, rates: DeviceRates) -> None:
        """Report how full the limits are."""
        self.registry.register(_LimitGauges(limiter, rates))
        self.specs += [_COMPUTATIONS, _DEVICES]

    def _counter(self, name: str, unit: str, meaning: str, *labels: str) -> Counter:
        spec = MetricSpec(
            name=f"scalrec_{name}_total", kind="counter", unit=unit, labels=labels, meaning=meaning
        )
        self.specs.append(spec)
        return Counter(spec.name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        spec = MetricSpec(
            name=f"scalrec_{name}", kind="histogram", unit="seconds", labels=labels, meaning=meaning
        )
        self.specs.append(spec)
        return Histogram(spec.name, meaning, labels, buckets=_SECONDS, registry=self.registry)


class _LimitGauges(Collector):
    def __init__(self, limiter: Limiter, rates: DeviceRates):
        self._limiter = limiter
        self._rates = rates

    def collect(self) -> Iterator[GaugeMetricFamily]:
        computations = GaugeMetricFamily(
            _COMPUTATIONS.name, _COMPUTATIONS.meaning, labels=_COMPUTATIONS.labels
        )
        computations.add_metric(["in_flight"], self._limiter.in_flight)
        computations.add_metric(["waiting"], self._limiter.waiting)
        yield computations
        yield GaugeMetricFamily(_DEVICES.name, _DEVICES.meaning, value=len(self._rates))


def metrics_page() -> str:
    """docs/metrics.md: every metric of the cloud service in one table."""
    metrics = Metrics()
    metrics.watch(Limiter(1, 0, 0.0), DeviceRates(0.0, 1, lambda: 0.0))
    rows = [
        f"| `{spec.name}` | {spec.kind} | {spec.unit} "
        f"| {', '.join(f'`{label}`' for label in spec.labels) or 'none'} | {spec.meaning} |"
        for spec in sorted(metrics.specs, key=lambda spec: spec.name)
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            "What the cloud service reports at `/metrics` on its admin port, in Prometheus' text",
            "format. A histogram is stored as `_bucket`, `_sum` and `_count`. Labels never hold a "
            "user.",
            "",
            "Generated: `.venv/bin/python -m cloud_service.telemetry.metrics > docs/metrics.md`.",
            "",
            "| name | type | unit | labels | meaning |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
