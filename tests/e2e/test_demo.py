"""The demo in a short form: real log, real vLLM, real Redis, real sockets, an outage, a report."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from reports.summary.model import Summary
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log

pytestmark = pytest.mark.vllm
SHORT = [
    "training.epochs=1",
    "training.restart_epochs=0",
    "training.abstracts_per_user=2",
    "training.semantic_epochs=2",
    "training.calibration_epochs=2",
    "training.test_steps=6",
    "paper.steps=1",
    "paper.gaps=[0,5]",
    "paper.bootstrap=200",
    "replay.steps=6",
    "replay.availability.period_s=6",
    "replay.availability.outage_s=2",
    "device.link.breaker_open_s=0.5",
]


def _arguments(*more: str) -> list[str]:
    settings = [part for assignment in SHORT for part in ("--set", assignment)]
    return ["simulate", "--users", "40", "--duration", "12", "--k", "2", *settings, *more]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CliRun:
    run = CliRun(_arguments(), tmp_path_factory.mktemp("demo") / "runs")
    run.finish(timeout_s=900)
    return run


def _summary(run: CliRun) -> Summary:
    return Summary.model_validate_json((run.work_dir / "latest" / "summary.json").read_text())


def test_vllm_served_the_model_without_a_fallback(demo: CliRun) -> None:
    info = _summary(demo).run
    assert info.embedder.backend == "vllm"
    assert info.fallback_reason == ""
    assert info.embedder.model == "minilm"
    assert "vLLM serves minilm" in demo.text()


def test_every_request_was_answered_and_outages_were_met(demo: CliRun) -> None:
    requests = pl.read_parquet(demo.work_dir / "latest" / "requests.parquet")
    assert requests.height == 40 * 6
    assert set(requests["source"].unique()) <= {"snapshot", "local"}
    assert (requests["source"] == "snapshot").sum() > requests.height / 2
    assert requests["cloud_up"].n_unique() == 2
    with_snapshot = requests.filter(pl.col("delta") >= 0)
    assert (with_snapshot["delta"] == with_snapshot["step"] - with_snapshot["snapshot_tau"]).all()
    assert (with_snapshot["de_norm"] >= 0).all()


def test_refreshes_reached_the_real_cloud(demo: CliRun) -> None:
    refreshes = pl.read_parquet(demo.work_dir / "latest" / "refreshes.parquet")
    outcomes = dict(refreshes["outcome"].value_counts().iter_rows())
    assert outcomes.get("fresh", 0) > 20
    failed = refreshes.filter(pl.col("outcome").is_in(["network", "breaker", "deadline"]))
    assert failed.height > 0, "the outage hit nobody"
    fresh = refreshes.filter(pl.col("outcome") == "fresh")
    assert (fresh["response_bytes"] > 500).all()


def test_summary_and_report_hold_every_section(demo: CliRun) -> None:
    summary = _summary(demo)
    assert summary.paper is not None
    assert {(s.setting, s.gap) for s in summary.paper.scores} == {
        ("S1", 0), ("S1", 5), ("S2", 0), ("S2", 5)
    }  # fmt: skip
    assert summary.full is not None
    assert summary.full.scope.requests == 943
    assert summary.system is not None
    assert summary.system.cloud.calls > 0
    assert summary.system.outages
    assert sum(stage.seconds for stage in summary.run.stages) > 0
    report = (demo.work_dir / "latest" / "report.html").read_text()
    assert "movielens-100k" in report
    assert "GroupLens" in report


def test_nothing_is_left_behind(demo: CliRun) -> None:
    assert demo.left_over() == []
    assert [p for p in demo.work_dir.rglob("*") if ".partial" in p.name] == []


def test_a_second_run_reuses_what_is_unchanged(demo: CliRun) -> None:
    again = CliRun(_arguments("--duration", "3"), demo.work_dir)
    again.finish(timeout_s=300)
    stages = {stage.name: stage for stage in _summary(again).run.stages}
    for name in ("train: backbone", "train: projector", "train: calibration", "export"):
        assert stages[name].reused, name
    assert stages["controlled staleness"].reused


@pytest.mark.smollm2
def test_a_llama_goes_down_the_same_path(tmp_path: Path) -> None:
    """A log of somebody's own, small enough for 135M parameters on two cores."""
    log, items = small_log(tmp_path)
    run = CliRun(
        [
            *_arguments("--model", "smollm2", "--log", str(log), "--items", str(items)),
            "--columns",
            "user=who,item=what,time=when",
        ],
        tmp_path / "runs",
    )
    run.finish(timeout_s=900)
    info = _summary(run).run
    assert (info.embedder.backend, info.embedder.model) == ("vllm", "smollm2")
    assert info.embedder.dim == 576
    system = _summary(run).system
    assert system is not None
    assert system.cloud.outcomes.get("fresh", 0) > 0
    assert run.left_over() == []


def test_settings_are_printed_without_secrets(demo: CliRun) -> None:
    text = demo.text()
    assert "device" in text
    assert "redis://" not in text
    assert json.loads((demo.work_dir / "latest" / "run.json").read_text())["settings"]["cloud"][
        "redis_url"
    ] in (None, "**********")
