"""Ctrl-C at any moment leaves no process and no half-written file behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shared.bundle import load_bundle
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log

ARGUMENTS = [
    "simulate",
    "--embedder",
    "hashing",
    "--model",
    "hashing-64",
    "--users",
    "20",
    "--duration",
    "30",
    *(
        part
        for assignment in (
            "training.epochs=1",
            "training.restart_epochs=0",
            "training.abstracts_per_user=2",
            "training.semantic_epochs=1",
            "training.calibration_epochs=1",
            "paper.steps=1",
            "paper.gaps=[0,5]",
            "paper.bootstrap=100",
        )
        for part in ("--set", assignment)
    ),
]


@pytest.mark.parametrize(
    "moment",
    [
        "interactions",
        "embedding items",
        "embedding abstracts",
        "exporting to ONNX",
        "cloud service",
        "Devices load",
    ],
)
def test_interrupted_at(moment: str, tmp_path: Path) -> None:
    log, items = small_log(tmp_path)
    own = ["--log", str(log), "--items", str(items), "--columns", "user=who,item=what,time=when"]
    run = CliRun([*ARGUMENTS, *own], tmp_path / "runs")
    with run.started() as process:
        run.wait_for(moment, process, timeout_s=120)
        assert run.interrupt(process, timeout_s=30) == 130
    assert "Interrupted" in run.text()
    assert run.left_over() == []
    _only_whole_files(tmp_path / "runs")


def _only_whole_files(work_dir: Path) -> None:
    assert [p.name for p in work_dir.rglob("*") if p.name.endswith((".partial", ".tmp"))] == []
    assert [p.name for p in (work_dir / "stages").glob(".*")] == []
    for records in work_dir.rglob("*.parquet"):
        assert pl.read_parquet(records).width > 0
    for manifest in work_dir.rglob("manifest.json"):
        load_bundle(manifest.parent)
