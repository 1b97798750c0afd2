"""The history as a page: what does not hold, and the timeline of every device it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from jinja2 import Environment, PackageLoader

from loadtest.faults.script import FaultScript
from loadtest.history.history import RunHistory, Violation
from loadtest.scenarios.model import Scenario
from shared.files import write_whole

PAGE = "history.html"
MOST_USERS = 40
WIDTH = 1000.0


def write_page(
    run_dir: Path,
    scenario: Scenario,
    script: FaultScript,
    history: RunHistory,
    violations: Sequence[Violation],
) -> Path:
    """Write history.html into the run folder; returns its path."""
    users = list(dict.fromkeys(v.user for v in violations if v.user >= 0))[:MOST_USERS]
    environment = Environment(
        loader=PackageLoader("loadtest.scenarios", "templates"), autoescape=True
    )
    text = environment.get_template("history.html").render(
        scenario=scenario,
        faults=script.faults,
        violations=violations,
        users=[_user(index, history, violations) for index in users],
        x=lambda seconds: round(max(0.0, seconds) / scenario.duration_s * WIDTH, 1),
    )
    return write_whole(run_dir / PAGE, text)


def _user(index: int, history: RunHistory, violations: Sequence[Violation]) -> dict[str, object]:
    own = pl.col("user") == index
    asked = history.requests.filter(own).sort("started_s")
    refreshes = history.refreshes.filter(own).sort("started_s")
    return {
        "index": index,
        "requests": [
            {"at_s": at, "gap": "–" if gap < 0 else gap}
            for at, gap in asked.select("started_s", "delta").iter_rows()
        ],
        "refreshes": [
            {"from_s": start, "to_s": end, "outcome": outcome, "version": version}
            for start, end, outcome, version in refreshes.select(
                "started_s", "finished_s", "outcome", "version"
            ).iter_rows()
        ],
        "bad": [v.at_s for v in violations if v.user == index],
    }
