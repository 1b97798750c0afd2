import io
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.report import text
from loadtest.report.cards import facts
from loadtest.report.tables.system import cloud_table
from loadtest.run_info import read_run_info, write_run_info
from loadtest.summary import build_summary
from loadtest.summary_table import print_summary
from shared.settings import DeviceSettings, printable
from tests.support.runs import invent_run


@pytest.mark.parametrize(
    ("device", "named"),
    [
        ({"policy": "reliability", "budget": 0.1}, "reliability, budget = 0.1"),
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
    assert dict(facts(summary))["Refresh policy"] == f"{named}; {asked} refreshes per request"
    rows = {row.heads[0]: row.cells[0] for row in cloud_table(summary.system).rows}
    assert rows["refreshes per request"].text == asked
    screen = io.StringIO()
    print_summary(summary, Console(file=screen, width=200))
    assert f"The replay ({named}; cloud" in screen.getvalue()
    assert f"{asked} refreshes per request" in " ".join(screen.getvalue().split())
