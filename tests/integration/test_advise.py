"""`scalrec advise` from a file of somebody's own to the page, trained and scored for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scalrec.advice.model import Advice
from scalrec.cli import build_app
from tests.support.small_log import small_log

TRAINING = ["epochs=2", "restart_epochs=0", "semantic_epochs=2", "calibration_epochs=2", "dim=16"]


def advise(folder: Path, profile: str, *more: str) -> tuple[str, Path]:
    log, items = small_log(folder)
    arguments = [
        "advise", "--log", str(log), "--items", str(items), "--profile", profile,
        "--columns", "user=who,item=what,time=when", "--embedder", "hashing",
        "--set", "embedder.model=hashing-16", "--set", "training.threads=1",
        "--set", f"cache={folder / 'cache'}", "--set", "cloud.candidates=5",
        "--work-dir", str(folder / "runs"),
        *(part for setting in TRAINING for part in ("--set", f"training.{setting}")), *more,
    ]  # fmt: skip
    result = CliRunner().invoke(build_app(), arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (run,) = (folder / "runs").glob("*-advise-loans")
    return result.output, run


@pytest.mark.slow
def test_advice_for_a_small_device(tmp_path: Path) -> None:
    output, run = advise(tmp_path, "tiny")
    advice = Advice.model_validate_json((run / "advice.json").read_text())
    figures = advice.figures
    assert figures.opponent in figures.opponents
    assert figures.ages == (0, 1, 2, 5, 10, 20)
    assert [row.interval for row in figures.intervals] == [1, 2, 5, 10, 20]
    assert (figures.users, figures.requests) == (45, 45 * 4)
    for row in figures.intervals:
        sides = (row.calibrated.value, figures.alone.value, row.gain.value)
        assert None not in sides
        assert sides[0] - sides[1] == pytest.approx(sides[2])  # type: ignore[operator]
    assert set(figures.opponents) >= {"popularity", "frequency_all", "decayed_all", "counts",
                                      "ensemble"}  # fmt: skip
    assert figures.fusion_weight is not None
    flat = " ".join(output.split())
    assert " ".join(advice.verdict.sentence.split()) in flat
    assert "calls per 1,000" in output
    for words in ("One seed (0)", "last 4 steps", "linear in log(1 + age)", "hashing words"):
        assert words in flat
    assert any("too few events for a snapshot of age 20" in said for said in advice.unknown)
    page = (run / "advice.html").read_text()
    assert advice.verdict.sentence.split(":")[0] in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/", "")  # nothing loaded from elsewhere
    assert advice.settings["training"]["test_steps"] == 4
    assert str(tmp_path) not in json.dumps(advice.settings)


def test_a_quick_one_says_so_and_a_table_tells_parts_apart(tmp_path: Path) -> None:
    output, run = advise(tmp_path, "full", "--quick")
    advice = Advice.model_validate_json((run / "advice.json").read_text())
    assert advice.quick
    assert advice.unknown[0].startswith("--quick: few epochs")
    assert advice.settings["training"]["epochs"] == 2  # what is set goes above --quick
    parts = advice.figures.intervals[0].gain_by_part
    assert set(parts) == {"return", "discovery"}
    assert sum(e.count for e in parts.values()) == advice.figures.requests
    assert "discoveries" in output
