"""How many lines a caller may cause, and that the rest is counted."""

from __future__ import annotations

import json

from shared.line_rates import LineRates
from tests.unit.cloud_service.conftest import Cloud


def test_a_caller_has_its_lines_each_minute_and_the_rest_is_counted() -> None:
    now = [0.0]
    rates = LineRates(lambda: now[0], per_caller=3, all_together=100)
    assert [rates.take("a") for _ in range(5)] == [0, 0, 0, None, None]
    assert rates.take("b") == 2
    now[0] = 59.9
    assert rates.take("a") is None
    now[0] = 60.0
    assert rates.take("a") == 1
    assert rates.rest() == 0


def test_all_together_have_a_bound_too() -> None:
    rates = LineRates(lambda: 0.0, per_caller=10, all_together=50)
    written = [rates.take(caller) is not None for caller in range(200)]
    assert sum(written) == 50
    assert rates.rest() == 150


def test_memory_is_bounded() -> None:
    rates = LineRates(lambda: 0.0, most_callers=20)
    for caller in range(1000):
        rates.take(caller)
    assert len(rates) == 20


async def test_refusals_fill_no_disk_and_are_all_counted(cloud: Cloud) -> None:
    for _ in range(500):
        await cloud.client.post("/v1/users/ada/snapshot", content=b"{")
    lines = [json.loads(line) for line in cloud.log.getvalue().splitlines()]
    refusals = [line for line in lines if line.get("audit")]
    assert len(refusals) == 10
    assert cloud.metric("problems_total", type="unsupported-media-type") == 500


async def test_failures_behind_the_service_fill_no_disk(cloud: Cloud) -> None:
    cloud.store.down = True
    for _ in range(500):
        await cloud.get()
    for event in ("request refused", "snapshot store failed"):
        assert 0 < cloud.log.getvalue().count(event) <= 10
