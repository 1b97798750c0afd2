"""`scalrec robustness` as a command: shared among processes, interrupted, gone on with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from loadtest.scenarios.robustness_record import read_lines, read_robustness_record
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK, SmallRun

COUNT = 8


@pytest.mark.slow
def test_an_interrupted_batch_goes_on_where_it_was_in_several_processes(
    trained: SmallRun, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    arguments = [
        "robustness", *QUICK, *trained.own, "--bundle", str(trained.bundle), "--seed", "5",
        "--sockets", "0", "--count", str(COUNT),
    ]  # fmt: skip
    batch = CliRun(arguments, runs)
    with batch.started() as process:
        batch.wait_for("if interrupted", process, timeout_s=120)
        (folder,) = runs.glob("*-robustness")
        give_up = time.monotonic() + 120
        while not read_lines(folder):
            assert time.monotonic() < give_up, batch.text()
            time.sleep(0.05)
        assert batch.interrupt(process, timeout_s=30) == 130
    assert batch.left_over() == []
    before = {line.number: line for line in read_lines(folder)}
    assert 1 <= len(before) < COUNT
    resumed = CliRun([*arguments, "--resume", str(folder), "--jobs", "2"], runs)
    told = resumed.finish(timeout_s=300)
    assert resumed.left_over() == []
    after = {line.number: line for line in read_lines(folder)}
    assert set(after) == set(range(COUNT))
    assert {number: after[number] for number in before} == before  # none was made again
    record = read_robustness_record((folder / "summary.json").read_text())
    assert record.runs == {"virtual clock": COUNT}
    assert record.findings == ()
    assert f"{COUNT} on virtual clock" in told
    # Other code or another seed would make other runs than those there.
    other = CliRun([*arguments, "--seed", "6", "--resume", str(folder)], runs)
    with other.started() as process:
        assert process.wait(120) == 2
    assert "leave --resume out" in other.text()
