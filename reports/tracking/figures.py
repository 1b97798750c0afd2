"""The figures of a run that are tracked, by the names that they have in MLflow.

MLflow groups metrics by what stands before the last slash, and its names hold letters, digits and
``_-. :/`` alone, so that NDCG@10 is called ``ndcg_at_10``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from reports.summary.model import (
    FullScore,
    FullSection,
    PaperScore,
    PaperSection,
    Summary,
    SystemScore,
    SystemSection,
)
from shared.statistics import Estimate

Figure = tuple[str, float | None]

SHOWN = ("ndcg@10", "hr@10")
GROUPS = ("part", "source", "cloud")  # of the replay's requests; those by age are many
PERCENTILES = ("p50", "p90", "p95", "p99", "max")
_ALL_REFRESHES = "refresh, all"
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


def figures_of(summary: Summary) -> dict[str, float]:
    """What was measured, by metric; what was not, or is not finite, is left out.

    Scores come without their intervals, which the report has; differences come with them, because
    without one nobody can say whether a difference is significant.
    """
    found: list[Figure] = []
    if summary.full is not None:
        found += _full(summary.full)
    if summary.paper is not None:
        found += _paper(summary.paper)
    if summary.system is not None:
        found += _replay(summary.system)
        found += _latency(summary.system)
        found += _cloud(summary.system)
    return {
        name: float(value) for name, value in found if value is not None and math.isfinite(value)
    }


def metric_name(name: str) -> str:
    """One part of a metric's name, of characters that MLflow takes."""
    return _FOREIGN.sub("_", name.replace("@", "_at_")).strip("_")


def _full(full: FullSection) -> Iterator[Figure]:
    for row in full.scores:
        if row.part == "all":
            yield from _scores(f"catalogue_{metric_name(row.steps)}", row)


def _scores(
    place: str, row: FullScore | PaperScore | SystemScore, more: str = ""
) -> Iterator[Figure]:
    """A scorer's figures at one place. more: what else the name says."""
    for metric in SHOWN:
        name = f"{metric_name(metric)}.{metric_name(row.scorer)}{more}"
        yield f"{place}/{name}", row.metrics[metric].value


def _paper(paper: PaperSection) -> Iterator[Figure]:
    for score in paper.scores:
        if score.part == "all":
            yield from _scores(f"staleness_{score.setting}", score, f".gap_{score.gap}")
    for row in paper.staleness:
        told = {"loss": row.loss, "bought_back": row.bought_back, "recovered": row.recovered}
        for name, estimate in told.items():
            yield from _interval(f"staleness_{row.setting}/{name}.gap_{row.gap}", estimate)


def _replay(system: SystemSection) -> Iterator[Figure]:
    yield "replay/requests", system.scope.requests
    yield "replay/users", system.scope.users
    yield "replay/cloud_up", system.cloud_up
    for row in system.scores:
        if row.by == "all":
            yield from _scores("replay", row)
        elif row.by in GROUPS:
            name = f"{metric_name(row.scorer)}.{metric_name(row.group)}"
            yield f"replay/ndcg_at_10.{name}", row.metrics["ndcg@10"].value
    for pair in system.differences:
        if pair.by == "all":
            name = f"{metric_name(pair.minuend)}_minus_{metric_name(pair.subtrahend)}"
            yield from _interval(f"replay/ndcg_at_10.{name}", pair.metrics["ndcg@10"])


def _latency(system: SystemSection) -> Iterator[Figure]:
    for row in system.latency:
        if not row.what.startswith("refresh,") or row.what == _ALL_REFRESHES:
            for percentile in PERCENTILES:
                yield f"latency_ms/{metric_name(row.what)}.{percentile}", getattr(row, percentile)


def _cloud(system: SystemSection) -> Iterator[Figure]:
    cloud = system.cloud
    counted = ("calls", "refreshes", "answered", "refused", "bytes_up", "bytes_down", "saved")
    for name in (*counted, "refreshes_per_request", "answered_per_request"):
        yield f"cloud/{name}", getattr(cloud, name)
    if cloud.cost is not None:
        for name in ("calls", "tokens", "gpu_seconds", "money"):
            yield f"cost_per_1000_requests/{name}", getattr(cloud.cost, name)


def _interval(name: str, estimate: Estimate) -> Iterator[Figure]:
    yield name, estimate.value
    yield f"{name}.low", estimate.low
    yield f"{name}.high", estimate.high
