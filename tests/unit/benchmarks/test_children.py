"""Rows of whole processes: what is run is the product, and what polars alone does is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import start
from benchmarks.children import alternated, run_python
from benchmarks.reading import POLARS
from benchmarks.scaling.invented import written_log
from benchmarks.start import compare_start


def test_a_process_is_told_with_its_time_and_its_memory() -> None:
    held = "import time; kept = bytearray(100 << 20); time.sleep(0.1)"
    large, small, ratio = alternated(["-c", held], ["-c", ""], rounds=1)
    assert large.seconds > 0.1
    assert large.mib - small.mib > 90
    assert ratio > 1


def test_a_process_that_fails_gives_no_figure() -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3$"):
        run_python(["-c", "raise SystemExit(3)"])
    with pytest.raises(RuntimeError, match=r"ended with 1: .*OSError: no disk$"):
        run_python(["-c", "raise OSError('no disk')"])


def test_polars_reads_the_log_that_we_read(tmp_path: Path) -> None:
    path = written_log(tmp_path / "log.csv", users=20, items=10)
    assert path.read_text().splitlines()[0] == "user,item,time"
    assert run_python(["-c", POLARS, str(path)]).mib > 10


def test_help_is_that_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def told(ours: list[str], theirs: list[str], *, rounds: int) -> object:
        asked.append(tuple(ours))
        return alternated(ours, theirs, rounds=1)

    monkeypatch.setattr(start, "alternated", told)
    line = compare_start()
    assert asked == [("-m", "scalrec", "--help")]
    assert line.ours > line.theirs / 2 > 0
