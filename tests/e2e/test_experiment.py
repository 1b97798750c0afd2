"""`scalrec experiment run`: interrupted, resumed, and its tables made anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fake_study import SLOW
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    log, items = small_log(tmp_path)
    return [
        "experiment", "run", "gates", "--log", f"loans={log}", "--items", str(items),
        "--columns", "user=who,item=what,time=when", "--embedder", "hashing",
        "--set", "embedder.model=hashing-16", "--profiles", "tiny,small", "--seeds", "2",
        "--jobs", "2", "--allow-dirty", "--study", "tests.support.fake_study:run_cell",
        "--results", str(tmp_path / "results"),
    ]  # fmt: skip


@pytest.mark.slow
def test_an_interrupted_experiment_continues_where_it_was(
    tmp_path: Path, arguments: list[str]
) -> None:
    work_dir = tmp_path / "runs"
    first = CliRun(arguments, work_dir, {SLOW: "3"})
    with first.started() as process:
        first.wait_for("1/4 cells", process, 90)
        assert first.interrupt(process, 30) == 130
    assert first.left_over() == []
    done = first.text().count("✓ loans")
    assert 1 <= done < 4
    assert not (tmp_path / "results").exists()
    second = CliRun(arguments, work_dir)
    second.output.unlink()
    text = second.finish(120)
    counted = re.search(r"(\d) cells? to compute, (\d) finished before", text)
    assert counted, text
    left, kept = (int(number) for number in counted.groups())
    # A cell may have been kept in the moment before Ctrl-C, too late to be told.
    assert left + kept == 4
    assert kept >= done
    assert text.count("✓ loans") == left
    assert "G4a: calibration wins back" in text
    page = tmp_path / "results" / "experiments" / "gates" / "README.md"
    assert "loans" in page.read_text()
    again = CliRun(["experiment", "table", "--results", str(tmp_path / "results")], work_dir)
    again.output.unlink()
    assert "nothing to change" in again.finish(60)


def test_a_background_job_ends_when_terminated(tmp_path: Path, arguments: list[str]) -> None:
    run = CliRun(arguments, tmp_path / "runs", {SLOW: "600"}, in_background=True)
    with run.started() as process:
        run.wait_for("cells to compute", process, 90)
        run.wait_for("started", process, 30)
        process.terminate()
        assert process.wait(30) == 130
    assert run.left_over() == []
