"""A whole simulation of every device profile: train, export, fleet, evidence, report."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.summary.model import Summary
from shared.profile import PRESETS
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log
from tests.support.small_run import QUICK, naming
from tests.support.tiers import REST


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["full", *(pytest.param(name, marks=REST) for name in ("small", "tiny"))]
)
def test_a_run_of_each_profile_ends_in_a_report_with_its_figures(tmp_path: Path, name: str) -> None:
    own = naming(*small_log(tmp_path))
    short = ["--set", "paper.steps=1", "--set", "paper.gaps=[0,2]", "--clock", "virtual"]
    arguments = ["simulate", *own, *QUICK, *short, "--embedder", "hashing", "--users", "8"]
    run = CliRun([*arguments, "--profile", name], tmp_path / "runs")
    run.finish(timeout_s=900)
    latest = tmp_path / "runs" / "latest"
    summary = Summary.model_validate_json((latest / "summary.json").read_text())
    assert summary.run.profile == PRESETS[name]
    figures = summary.run.device_figures
    assert figures is not None
    assert (figures.profile, figures.window) == (name, PRESETS[name].window)
    assert (figures.page > 0) == (name == "tiny")
    assert summary.paper is not None
    assert summary.full is not None
    assert summary.system is not None
    assert summary.system.sources["snapshot"] > 0
    report = (latest / "report.html").read_text()
    assert "One device" in report
    assert f"{name}: sees {PRESETS[name].window} events" in report
