"""The metrics of a tracked run are the summary's figures, under names that MLflow takes."""

from __future__ import annotations

import re

import pytest

from reports.summary.build import build_summary
from reports.summary.model import Summary
from reports.tracking.figures import figures_of, metric_name
from tests.support.runs import GAPS, invent_run


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return build_summary(invent_run(tmp_path_factory.mktemp("run"), users=8))


def test_each_score_of_a_gap_is_a_metric(summary: Summary) -> None:
    figures = figures_of(summary)
    assert summary.paper is not None
    rows = [row for row in summary.paper.scores if row.part == "all"]
    assert len(rows) == 2 * len(GAPS) * 4
    for row in rows:
        name = f"staleness_{row.setting}/ndcg_at_10.{row.scorer}.gap_{row.gap}"
        assert figures[name] == row.metrics["ndcg@10"].value


def test_differences_come_with_their_intervals(summary: Summary) -> None:
    figures = figures_of(summary)
    assert summary.paper is not None
    assert summary.system is not None
    row = next(row for row in summary.paper.staleness if (row.setting, row.gap) == ("S2", 5))
    name = "staleness_S2/loss.gap_5"
    found = [figures[name], figures[f"{name}.low"], figures[f"{name}.high"]]
    assert found == [row.loss.value, row.loss.low, row.loss.high]
    pair = next(d for d in summary.system.differences if (d.by, d.subtrahend) == ("all", "alone"))
    name = "replay/ndcg_at_10.answered_minus_alone"
    assert figures[f"{name}.low"] == pair.metrics["ndcg@10"].low


def test_replay_latency_cloud_and_cost(summary: Summary) -> None:
    figures, system = figures_of(summary), summary.system
    assert system is not None
    assert system.cloud.cost is not None
    scores = {(row.by, row.group, row.scorer): row.metrics for row in system.scores}
    down = scores["cloud", "cloud down", "answered"]["ndcg@10"].value
    assert figures["replay/ndcg_at_10.answered.cloud_down"] == down
    assert figures["replay/requests"] == system.scope.requests
    latency = {row.what: row for row in system.latency}
    assert figures["latency_ms/refresh_all.p95"] == latency["refresh, all"].p95
    assert not [name for name in figures if name.startswith("latency_ms/refresh_fresh")]
    assert figures["cloud/calls"] == system.cloud.calls
    assert figures["cloud/refreshes_per_request"] == system.cloud.refreshes_per_request
    assert figures["cost_per_1000_requests/money"] == system.cloud.cost.money


def test_names_are_such_as_mlflow_takes(summary: Summary) -> None:
    assert [name for name in figures_of(summary) if not re.fullmatch(r"[\w./-]{1,250}", name)] == []
    assert metric_name("ndcg@10") == "ndcg_at_10"
    assert metric_name("request, from its start (ms)") == "request_from_its_start_ms"


def test_what_was_not_measured_is_left_out(summary: Summary) -> None:
    assert summary.system is not None
    cloud = summary.system.cloud.model_copy(update={"saved": None, "cost": None})
    system = summary.system.model_copy(update={"cloud": cloud, "cloud_up": float("nan")})
    figures = figures_of(summary.model_copy(update={"system": system, "paper": None}))
    assert "cloud/calls" in figures
    gone = ("cloud/saved", "cost_per_1000", "replay/cloud_up", "staleness_")
    assert [name for name in figures if name.startswith(gone)] == []
