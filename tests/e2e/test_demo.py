"""The demo in a short form: real vLLM, real Redis, real sockets, an outage, a report.

Once on an invented log, with the tests' own vLLM server; once on MovieLens-100K, as ``make demo``
does it, with a server that the run starts and ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from launch.vllm_server import VllmServer
from reports.summary.model import Summary
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log

pytestmark = pytest.mark.model
SHORT = [
    "training.threads=1",  # as the demo has it
    "training.epochs=1",
    "training.restart_epochs=0",
    "training.abstracts_per_user=2",
    "training.semantic_epochs=2",
    "training.calibration_epochs=2",
    "training.calibration_steps=1",
    "training.validation_steps=1",
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


KEY = "SCALREC_EMBEDDER__API_KEY"
COLUMNS = "user=who,item=what,time=when"


@dataclass(frozen=True)
class Demo:
    """A run and what tells it from the other one.

    Attributes:
        least_bytes: below this no snapshot of so many items can be.
        served: the tests' own server, if the run used that one.
    """

    run: CliRun
    users: int
    log: str
    least_bytes: int
    served: VllmServer | None


def _real_log(folder: Path, request: pytest.FixtureRequest) -> Demo:
    run = CliRun(_arguments(), folder / "runs")
    return Demo(run=run, users=943, log="movielens-100k", least_bytes=500, served=None)


def _small_log(folder: Path, request: pytest.FixtureRequest) -> Demo:
    server: VllmServer = request.getfixturevalue("minilm_server")
    log, items = small_log(folder)
    own = ["--log", str(log), "--items", str(items), "--columns", COLUMNS]
    use = ["--set", f"embedder.url={server.url}"]
    assert server.options.api_key
    run = CliRun(_arguments(*own, *use), folder / "runs", {KEY: server.options.api_key})
    return Demo(run=run, users=45, log="loans", least_bytes=400, served=server)


SMALL = pytest.param(_small_log, id="small")
REAL = pytest.param(_real_log, id="movielens", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[SMALL, REAL])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    demo: Demo = request.param(tmp_path_factory.mktemp("demo"), request)
    demo.run.finish(timeout_s=900)
    return demo


@pytest.fixture
def demo(finished: Demo) -> CliRun:
    return finished.run


def _summary(run: CliRun) -> Summary:
    return Summary.model_validate_json((run.work_dir / "latest" / "summary.json").read_text())


def test_vllm_served_the_model_without_a_fallback(finished: Demo) -> None:
    info = _summary(finished.run).run
    assert info.embedder.backend == "vllm"
    assert info.fallback_reason == ""
    assert info.embedder.model == "minilm"
    started_here = "vLLM serves minilm" in finished.run.text()
    assert started_here == (finished.served is None)


def test_every_request_was_answered_and_outages_were_met(demo: CliRun) -> None:
    requests = pl.read_parquet(demo.work_dir / "latest" / "requests.parquet")
    assert requests.height == 40 * 6
    assert set(requests["source"].unique()) <= {"snapshot", "local"}
    assert (requests["source"] == "snapshot").sum() > requests.height / 2
    assert requests["cloud_up"].n_unique() == 2
    with_snapshot = requests.filter(pl.col("delta") >= 0)
    assert (with_snapshot["delta"] == with_snapshot["step"] - with_snapshot["snapshot_tau"]).all()
    assert (with_snapshot["de_norm"] >= 0).all()


def test_refreshes_reached_the_real_cloud(finished: Demo) -> None:
    refreshes = pl.read_parquet(finished.run.work_dir / "latest" / "refreshes.parquet")
    outcomes = dict(refreshes["outcome"].value_counts().iter_rows())
    assert outcomes.get("fresh", 0) > 20
    failed = refreshes.filter(pl.col("outcome").is_in(["network", "breaker", "deadline"]))
    assert failed.height > 0, "the outage hit nobody"
    fresh = refreshes.filter(pl.col("outcome") == "fresh")
    assert (fresh["response_bytes"] > finished.least_bytes).all()


def test_summary_and_report_hold_every_section(finished: Demo) -> None:
    demo, summary = finished.run, _summary(finished.run)
    assert summary.paper is not None
    assert {(s.setting, s.gap) for s in summary.paper.scores} == {
        ("S1", 0), ("S1", 5), ("S2", 0), ("S2", 5)
    }  # fmt: skip
    assert summary.full is not None
    assert summary.full.scope.requests == finished.users
    assert summary.system is not None
    assert summary.system.cloud.calls > 0
    assert summary.system.outages
    assert sum(stage.seconds for stage in summary.run.stages) > 0
    report = (demo.work_dir / "latest" / "report.html").read_text()
    assert finished.log in report
    assert ("GroupLens" in report) == (finished.log == "movielens-100k")


def test_nothing_is_left_behind(demo: CliRun) -> None:
    assert demo.left_over() == []
    assert [p for p in demo.work_dir.rglob("*") if ".partial" in p.name] == []


@pytest.mark.parametrize("finished", [SMALL], indirect=True)
def test_a_second_run_reuses_what_is_unchanged(demo: CliRun) -> None:
    again = CliRun([*demo.arguments, "--duration", "3"], demo.work_dir, demo.env)
    again.finish(timeout_s=300)
    stages = {stage.name: stage for stage in _summary(again).run.stages}
    for name in ("train: backbone", "train: projector", "train: calibration", "export"):
        assert stages[name].reused, name
    assert stages["controlled staleness"].reused


@pytest.mark.slow
def test_a_llama_goes_down_the_same_path(tmp_path: Path) -> None:
    """A log of somebody's own, and as few devices as 135M parameters serve on a busy core."""
    log, items = small_log(tmp_path)
    own = ["--log", str(log), "--items", str(items), "--columns", COLUMNS]
    run = CliRun(_arguments("--model", "smollm2", *own, "--users", "6"), tmp_path / "runs")
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
    assert not demo.env or demo.env[KEY] not in text
    assert json.loads((demo.work_dir / "latest" / "run.json").read_text())["settings"]["cloud"][
        "redis_url"
    ] in (None, "**********")
