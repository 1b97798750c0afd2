"""Prometheus beside the stack: scrapes the real services, has the rules, answers the dashboard."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from tests.compose.conftest import BUILD_S
from tests.support.compose import ROOT, Stack

pytestmark = pytest.mark.compose

DEBIAN = ROOT / "tests" / "compose" / "debian-prometheus.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "cloud.json"
CONFIGURATION = "/etc/prometheus/prometheus.yml"
WAIT_S = 60


@pytest.fixture(scope="module")
def prometheus(hashing_stack: Stack, stack_ports: dict[str, int]) -> Iterator[httpx.Client]:
    """Its API. From Debian's package, in the place of the public image."""
    stack = hashing_stack.with_file(DEBIAN)
    stack("build", "prometheus", timeout_s=BUILD_S)
    stack("up", "--wait", "--no-deps", "prometheus", timeout_s=120)
    try:
        address = f"http://127.0.0.1:{stack_ports['prometheus']}/api/v1"
        with httpx.Client(base_url=address, trust_env=False, timeout=20) as client:
            yield client
    finally:
        stack("rm", "--force", "--stop", "prometheus")


def asked(prometheus: httpx.Client, path: str, **parameters: str) -> dict[str, Any]:
    answer = prometheus.get(path, params=parameters).json()
    assert answer["status"] == "success", (parameters, answer)
    data: dict[str, Any] = answer["data"]
    return data


def value(prometheus: httpx.Client, query: str) -> float:
    """The one value of a query; NaN where there is none."""
    found = asked(prometheus, "/query", query=query)["result"]
    return float(found[0]["value"][1]) if found else float("nan")


def test_the_configuration_passes_prometheus_own_check(
    prometheus: httpx.Client, hashing_stack: Stack
) -> None:
    stack = hashing_stack.with_file(DEBIAN)
    said = stack("exec", "-T", "prometheus", "promtool", "check", "config", CONFIGURATION)
    assert "4 rules found" in said
    [container] = stack.containers("prometheus")
    assert container["HostConfig"]["ReadonlyRootfs"]
    assert container["HostConfig"]["CapDrop"] == ["ALL"]


def test_the_cloud_is_scraped_and_the_rules_are_evaluated(prometheus: httpx.Client) -> None:
    def arrived() -> bool:
        """Each comes in its own time: first scrapes, the rules' first turn, a counted request."""
        return (
            {"cloud", "prometheus"} <= up(prometheus)
            and healthy_rules(prometheus)
            and value(prometheus, "sum(scalrec_http_requests_total)") > 0
        )

    deadline = time.monotonic() + WAIT_S
    while not arrived():
        assert time.monotonic() < deadline, asked(prometheus, "/targets")
        time.sleep(1)
    targets = asked(prometheus, "/targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {"cloud", "vllm", "prometheus"}


def up(prometheus: httpx.Client) -> set[str]:
    """The jobs that a scrape has reached."""
    targets = asked(prometheus, "/targets")["activeTargets"]
    return {target["labels"]["job"] for target in targets if target["health"] == "up"}


def healthy_rules(prometheus: httpx.Client) -> bool:
    [group] = asked(prometheus, "/rules")["groups"]
    assert len(group["rules"]) == 4
    assert not [rule for rule in group["rules"] if rule["health"] == "err"]
    return all(rule["health"] == "ok" for rule in group["rules"])


def test_every_query_of_the_dashboard_is_answered(prometheus: httpx.Client) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) >= 15
    for query in queries:
        asked(prometheus, "/query", query=query)
    shown = value(prometheus, "sum(rate(scalrec_http_requests_total[1m]))")
    deadline = time.monotonic() + WAIT_S
    while not shown > 0:  # two scrapes are needed, and a device that asks
        assert time.monotonic() < deadline
        time.sleep(1)
        shown = value(prometheus, "sum(rate(scalrec_http_requests_total[1m]))")
