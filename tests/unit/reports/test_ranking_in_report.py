"""The report says how devices ranked, and speaks of no calibration where there was none."""

import io
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from device_runtime.settings import DeviceSettings
from loadtest.replay.run_info import read_run_info, write_run_info
from reports.page import verdict
from reports.page.cards import facts
from reports.page.charts.replay import replay_charts
from reports.page.tables.system import system_table
from reports.summary.build import build_summary
from reports.summary.model import Summary
from reports.terminal import print_summary
from shared.section import printable
from tests.support.runs import invent_run


def summary_of(folder: Path, device: dict[str, object]) -> Summary:
    info = read_run_info(invent_run(folder))
    settings = info.settings | {"device": printable(DeviceSettings.model_validate(device))}
    write_run_info(folder, info.model_copy(update={"settings": settings}))
    path = folder / "requests.parquet"
    if device.get("ranking") == "collaborative":
        pl.read_parquet(path).with_columns(rank_uncalibrated="rank").write_parquet(path)
    return build_summary(folder)


@pytest.mark.parametrize(
    ("device", "named", "row"),
    [
        ({}, "semantic, calibrated", "answered (calibrated)"),
        (
            {"ranking": "collaborative", "initial_share": 0.3},
            "collaborative, alpha = 0.3",
            "answered (collaborative)",
        ),
    ],
)
def test_ranking_is_stated(tmp_path: Path, device: dict[str, object], named: str, row: str) -> None:
    summary = summary_of(tmp_path, device)
    assert summary.system is not None
    assert dict(facts(summary))["Ranking in the replay"] == named
    assert system_table(summary.system).rows[0].heads == (row,)
    charts = {chart.id: chart for chart in replay_charts(summary.system)}
    assert charts["replay-ndcg"].legend[0][1] == row
    screen = io.StringIO()
    print_summary(summary, Console(file=screen, width=200))
    assert (f"; ranking {named}; cloud" in screen.getvalue()) == bool(device)


def test_the_verdict_on_collaborative_inference_is_against_the_device_alone(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, {"ranking": "collaborative"})
    assert summary.system is not None
    gain = next(
        row.metrics["ndcg@10"]
        for row in summary.system.differences
        if (row.by, row.minuend, row.subtrahend) == ("all", "answered", "alone")
    )
    said = on_replay(summary)
    assert "NDCG@10 of collaborative inference " in said
    assert "device without any cloud" in said
    assert "calibrat" not in said
    word = {1: " above ", -1: " below ", 0: " does not differ significantly "}[gain.sign]
    assert word in said
    system = summary.system
    for sign, word in ((1, " above "), (-1, " below "), (0, " does not differ significantly ")):
        low, high = {1: (0.1, 0.3), -1: (-0.3, -0.1), 0: (-0.1, 0.3)}[sign]
        estimate = replace(gain, value=(low + high) / 2, low=low, high=high)
        rows = tuple(
            row.model_copy(update={"metrics": row.metrics | {"ndcg@10": estimate}})
            for row in system.differences
        )
        told = summary.model_copy(
            update={"system": system.model_copy(update={"differences": rows})}
        )
        assert word in on_replay(told)


def on_replay(summary: Summary) -> str:
    [said] = [s for s in verdict.sentences(summary) if s.startswith("Over the whole replay, ")]
    return said
