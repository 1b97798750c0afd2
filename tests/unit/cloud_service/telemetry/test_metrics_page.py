"""docs/metrics.md says what the service really reports."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from cloud_service.telemetry.metrics import metrics_page
from tests.unit.cloud_service.conftest import Cloud

PAGE = Path(__file__).parents[4] / "docs" / "metrics.md"
ROW = re.compile(
    r"^\| `(?P<name>\w+)` \| (?P<kind>\w+) \| (?P<unit>\w+) \| (?P<labels>.*?) \| .+ \|$"
)


def test_the_page_is_the_generated_one() -> None:
    words = "run .venv/bin/python -m cloud_service.telemetry.metrics > docs/metrics.md"
    assert PAGE.read_text() == metrics_page(), words


async def test_the_table_is_what_the_live_service_reports(cloud: Cloud) -> None:
    rows = [found for line in PAGE.read_text().splitlines() if (found := ROW.match(line))]
    table = {row["name"]: row for row in rows}
    await cloud.post()
    await cloud.post("not/a/user")
    cloud.embedder.down = cloud.store.down = True
    await cloud.post("bob")
    await cloud.get("bob")
    live = list(text_string_to_metric_families((await cloud.admin.get("/metrics")).text))
    reported = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in live
        if not family.name.endswith("_created")
    }
    assert set(reported) == set(table)
    for name, family in reported.items():
        row = table[name]
        assert family.type == row["kind"], name
        labels = set(re.findall(r"`(\w+)`", row["labels"]))
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, name
