"""Where vLLM cannot be had, the demo says so, uses transformers, and labels the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.summary.model import Summary
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log
from tests.support.small_run import QUICK, naming

SMALL = ["--users", "8", "--duration", "3", "--set", "paper.steps=1", "--set", "paper.gaps=[0,2]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the log, and with what the first run trains: the virtual clock's run reuses that."""
    return tmp_path_factory.mktemp("fallback")


def _arguments(folder: Path, *more: str) -> list[str]:
    own = naming(*small_log(folder))
    real = ["--set", "embedder.backend=vllm", "--set", "embedder.model=minilm"]
    return ["simulate", *own, *QUICK, *SMALL, *real, "--set", "embedder.python=/nowhere", *more]


@pytest.mark.slow
def test_a_run_without_vllm_falls_back_and_says_so(folder: Path) -> None:
    run = CliRun(_arguments(folder), folder / "runs")
    run.finish(timeout_s=300)
    assert "vLLM is not available, using transformers instead" in run.text()
    latest = folder / "runs" / "latest"
    info = Summary.model_validate_json((latest / "summary.json").read_text()).run
    assert (info.requested_backend, info.embedder.backend) == ("vllm", "transformers")
    assert info.embedder.dim == 384
    assert "/nowhere" in info.fallback_reason
    assert info.fallback_reason.splitlines()[0] in (latest / "report.html").read_text()


def test_without_the_fallback_the_run_ends_with_advice(tmp_path: Path) -> None:
    run = CliRun(_arguments(tmp_path, "--no-fallback"), tmp_path / "runs")
    with run.started() as process:
        assert process.wait(120) == 2
    assert "EnvironmentMissing" in run.text()
    assert "scripts/bootstrap.py vllm" in run.text()
    assert run.left_over() == []


@pytest.mark.rest
@pytest.mark.slow
def test_the_virtual_clock_needs_no_vllm(folder: Path) -> None:
    run = CliRun(_arguments(folder, "--no-fallback", "--clock", "virtual"), folder / "runs")
    run.finish(timeout_s=300)
    summary = (folder / "runs" / "latest" / "summary.json").read_text()
    info = Summary.model_validate_json(summary).run
    assert (info.requested_backend, info.embedder.backend) == ("vllm", "transformers")
    assert not info.fell_back
    assert "(fallback)" not in (folder / "runs" / "latest" / "report.html").read_text()
