"""Ctrl-C at any moment leaves no process and no half-written file behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from loadtest.replay.run_info import read_run_info
from scalrec.jobs.run_folder import CUT_SHORT
from shared.bundle import load_bundle
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log
from tests.support.small_run import QUICK, SmallRun, naming
from tests.support.tiers import first_quick

ARGUMENTS = [
    "simulate", *QUICK, "--users", "20", "--duration", "30",
    "--set", "paper.steps=1", "--set", "paper.gaps=[0,5]",
]  # fmt: skip


@pytest.mark.parametrize(
    "moment", first_quick(["embedding abstracts", "interactions", "embedding items"])
)
def test_interrupted_while_training(moment: str, tmp_path: Path) -> None:
    own = naming(*small_log(tmp_path))
    _interrupted(CliRun([*ARGUMENTS, *own], tmp_path / "runs"), moment)


@pytest.mark.parametrize(
    "moment", first_quick(["Devices load", "cloud service", "exporting to ONNX"])
)
def test_interrupted_once_trained(moment: str, tmp_path: Path, trained: SmallRun) -> None:
    runs = trained.copy(tmp_path / "runs", bundles=moment != "exporting to ONNX")
    _interrupted(CliRun([*ARGUMENTS, *trained.own], runs), moment)


def _interrupted(run: CliRun, moment: str) -> None:
    with run.started() as process:
        run.wait_for(moment, process, timeout_s=120)
        # A thread that exports cannot be cut short: the limit is for a busy machine.
        assert run.interrupt(process, timeout_s=90) == 130
    assert "Interrupted" in run.text()
    assert run.left_over() == []
    _only_whole_files(run.work_dir)
    _says_that_it_was_cut_short(run.work_dir)


def _says_that_it_was_cut_short(work_dir: Path) -> None:
    """No run's folder is left that is empty, or looks as if the run had ended."""
    for folder in work_dir.glob("20*"):
        told = (folder / CUT_SHORT).exists() or read_run_info(folder).run_failures
        assert told, list(folder.rglob("*"))


def _only_whole_files(work_dir: Path) -> None:
    assert [p.name for p in work_dir.rglob("*") if p.name.endswith((".partial", ".tmp"))] == []
    assert [p.name for p in (work_dir / "stages").glob(".*")] == []
    for records in work_dir.rglob("*.parquet"):
        assert pl.read_parquet(records).width > 0
    for manifest in work_dir.rglob("manifest.json"):
        load_bundle(manifest.parent)
