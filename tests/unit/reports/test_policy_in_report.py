import io
from pathlib import Path

import pytest
from rich.console import Console

from device_runtime.settings import DeviceSettings
from loadtest.replay.run_info import read_run_info, write_run_info
from reports import text
from reports.page.cards import facts
from reports.page.tables.system import cloud_table
from reports.summary.build import build_summary
from reports.terminal import print_summary
from shared.cost import CostSettings
from shared.section import printable
from tests.support.runs import invent_run


@pytest.mark.parametrize(
    ("device", "named"),
    [
        ({"policy": "reliability", "budget": 0.1}, "reliability, budget = 0.1"),
        (
            {"policy": "expected-gain", "budget": 0.1, "budget_scope": "fleet"},
            "expected-gain, budget = 0.1 of the fleet's requests",
        ),
        ({"policy": "time-to-live", "ttl_s": 12}, "time-to-live, 12 s"),
        ({"k": 7}, "every-k, k = 7"),
    ],
)
def test_policy_parameter_and_realised_calls_are_stated(
    tmp_path: Path, device: dict[str, object], named: str
) -> None:
    folder = invent_run(tmp_path)
    info = read_run_info(folder)
    settings = info.settings | {"device": printable(DeviceSettings.model_validate(device))}
    write_run_info(folder, info.model_copy(update={"settings": settings}))
    summary = build_summary(folder)
    assert summary.system is not None
    cloud = summary.system.cloud
    assert summary.system.policy == named
    asked = text.number(cloud.refreshes / cloud.requests, 3)
    got = text.number(cloud.answered / cloud.requests, 3)
    assert (
        dict(facts(summary))["Refresh policy"]
        == f"{named}; {asked} refreshes per request, {got} answered"
    )
    rows = {row.heads[0]: row.cells[0] for row in cloud_table(summary.system).rows}
    assert rows["refreshes per request"].text == asked
    assert rows["answered with a snapshot"].text == f"{cloud.answered:,}"
    assert summary.system.budget == device.get("budget")
    screen = io.StringIO()
    print_summary(summary, Console(file=screen, width=200))
    assert f"The replay ({named}; cloud" in screen.getvalue()
    shown = " ".join(screen.getvalue().split())
    target = f" (budget {device['budget']})" if "budget" in device else ""
    assert f"{asked} refreshes per request{target}, {got} answered" in shown
    assert f"per 1,000 requests: {text.cost(cloud.cost)}" in shown


def test_money_is_stated_in_the_prices_that_were_set(tmp_path: Path) -> None:
    folder = invent_run(tmp_path)
    info = read_run_info(folder)
    prices = CostSettings(
        currency="CHF", per_million_tokens=3.0, tokens_per_abstract=200, gpu_seconds_per_call=0.5
    )
    write_run_info(
        folder,
        info.model_copy(update={"settings": info.settings | {"cost": prices.model_dump()}}),
    )
    system = build_summary(folder).system
    assert system is not None
    cost = system.cloud.cost
    assert cost is not None
    assert cost.calls == 1000 * system.cloud.outcomes["fresh"] / system.cloud.requests
    assert cost.tokens == pytest.approx(200 * cost.calls)
    assert cost.money == pytest.approx(3e-6 * cost.tokens + 0.5 * cost.calls * 1.5 / 3600)
    rows = {row.heads[0]: row.cells[0] for row in cloud_table(system).rows}
    words = rows["cloud work per 1,000 requests"].text
    assert "about" not in words
    assert words.endswith(f"{cost.money:,.4g} CHF")


def test_a_run_of_when_there_were_more_settings_is_reported_on(tmp_path: Path) -> None:
    folder = invent_run(tmp_path)
    info, usual = read_run_info(folder), build_summary(folder)
    link = info.settings["device"]["link"] | {"backoff_cap_s": 2.0}
    older = info.settings | {
        "device": info.settings["device"] | {"top_k": 10, "link": link},
        "paper": info.settings["paper"] | {"half_life": 20.0},
    }
    write_run_info(folder, info.model_copy(update={"settings": older}))
    again = build_summary(folder)
    assert again.system == usual.system
    assert again.paper == usual.paper
