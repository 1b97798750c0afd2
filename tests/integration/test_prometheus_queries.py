"""Every query of the dashboard and the alerts asks for series that a running cloud really shows."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2 as httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cloud_service.admin import create_admin_app
from cloud_service.app import create_app
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.promql import queried
from tests.support.servers import serving

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# What Prometheus adds to every series, and a series it makes of every target.
TARGET_LABELS = frozenset({"job", "instance"})
OWN = {"up": TARGET_LABELS}


def expressions() -> list[str]:
    dashboards = (DEPLOY / "grafana" / "dashboards").glob("*.json")
    panels = [panel for path in dashboards for panel in json.loads(path.read_text())["panels"]]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [target["expr"] for panel in panels for target in panel["targets"]] + [
        rule["expr"] for group in rules["groups"] for rule in group["rules"]
    ]


async def shown(tmp_path: Path) -> dict[str, frozenset[str]]:
    """Series that a cloud shows after requests of which some failed, with their labels.

    Series of a metric with labels appear with the first event; before that the family is there
    with its type alone, and its labels are those that the page of metrics documents.
    """
    bundle = make_bundle(tmp_path / "bundle")
    telemetry = quiet()[0]
    settings = cloud_settings(redis_url="redis://127.0.0.1:1/0")
    app = create_app(settings, bundle=bundle, telemetry=telemetry)
    admin = create_admin_app(app, telemetry.metrics.registry)
    documented = {spec.name: frozenset(spec.labels) for spec in telemetry.metrics.specs}
    async with (
        serving(app) as url,
        serving(admin) as admin_url,
        httpx.AsyncClient(trust_env=False, timeout=20) as client,
    ):
        await client.post(f"{url}/v1/users/ada/snapshot", json={"abstract": "Reads.", "step": 1})
        await client.get(f"{url}/v1/users/ada/snapshot")
        page = (await client.get(f"{admin_url}/metrics")).raise_for_status().text
    found: dict[str, frozenset[str]] = {}
    for family in text_string_to_metric_families(page):
        if family.name.endswith("_created"):
            continue
        base = f"{family.name}_total" if family.type == "counter" else family.name
        labels = documented.get(base, frozenset())
        if family.type == "histogram":
            found |= {f"{base}_{part}": labels for part in ("sum", "count")}
            found[f"{base}_bucket"] = labels | {"le"}
        else:
            found[base] = labels
        for sample in family.samples:
            if sample.name in found:
                assert frozenset(sample.labels) <= found[sample.name], sample
    return found


async def test_every_query_asks_for_series_and_labels_that_a_cloud_shows(tmp_path: Path) -> None:
    series = await shown(tmp_path) | OWN
    asked = expressions()
    assert len(asked) >= 15
    for expression in asked:
        wanted = queried(expression)
        assert wanted.metrics, expression
        for metric, labels in wanted.metrics.items():
            assert metric in series, f"{metric} is shown by nobody: {expression}"
            assert labels <= series[metric] | TARGET_LABELS, expression
            assert wanted.grouped_by <= series[metric] | TARGET_LABELS, expression


@pytest.mark.parametrize(
    ("expression", "metrics", "groups"),
    [
        ('sum by (a, b) (rate(x_total{k=~"5..", l!="by (z)"}[1m]))', {"x_total": {"k", "l"}}, "ab"),
        ("histogram_quantile(0.5, sum by (le) (rate(h_bucket[5m]))) > 1e3", {"h_bucket": ()}, None),
        ('sum(up{job="cloud"}) / on (job) group_left () y', {"up": {"job"}, "y": ()}, None),
    ],
)
def test_names_are_found_in_expressions(
    expression: str, metrics: dict[str, set[str]], groups: str | None
) -> None:
    found = queried(expression)
    assert found.metrics == {name: frozenset(labels) for name, labels in metrics.items()}
    if groups is not None:
        assert found.grouped_by == set(groups)
