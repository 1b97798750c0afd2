"""The sheet of `make bench`: parts are chosen, kept as they come, and fail on their own."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from benchmarks.__main__ import bench
from benchmarks.sheet import Sheet
from benchmarks.timing import BenchmarkLine


def _line(name: str) -> BenchmarkLine:
    return BenchmarkLine(name=name, ours=1.0, theirs=2.0, unit="s", ratio=0.5, meaning="lower")


async def test_a_part_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    shown = io.StringIO()
    sheet = Sheet(Console(file=shown, width=120), tmp_path)

    def broken() -> BenchmarkLine:
        raise RuntimeError("no [such] thing")

    await sheet.measure("first", lambda: _line("one"))
    await sheet.measure("second", broken)

    async def two() -> list[BenchmarkLine]:
        return [_line("two"), _line("three")]

    await sheet.ask("third", two)
    assert [line.name for line in sheet.lines] == ["one", "two", "three"]
    assert sheet.failed == ["second"]
    assert "second failed: RuntimeError: no [such] thing" in shown.getvalue()
    kept = json.loads(sheet.path.read_text())
    assert [row["name"] for row in kept["results"]] == ["one", "two", "three"]
    assert "cores" in kept["machine"]


async def test_what_was_measured_is_kept_before_the_next_part(tmp_path: Path) -> None:
    sheet = Sheet(Console(file=io.StringIO()), tmp_path)
    await sheet.measure("first", lambda: _line("one"))

    def looks() -> BenchmarkLine:
        assert json.loads(sheet.path.read_text())["results"][0]["name"] == "one"
        return _line("two")

    await sheet.measure("second", looks)
    assert sheet.failed == []


async def test_only_what_is_wanted_is_measured(tmp_path: Path) -> None:
    sheet = Sheet(Console(file=io.StringIO()), tmp_path, ["b"])
    assert sheet.wants("a", "b")
    assert not sheet.wants("a")
    await sheet.measure("a", lambda: _line("one"))
    await sheet.measure("b", lambda: _line("two"))
    assert [line.name for line in sheet.lines] == ["two"]


def _asked(*arguments: str) -> tuple[int, str]:
    app = Typer()
    app.command()(bench)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_parts_without_a_model_need_no_training(tmp_path: Path) -> None:
    code, shown = _asked("--only", "codec", "--work-dir", str(tmp_path), "--set", "log.name=redial")
    assert code == 0, shown
    (path,) = (tmp_path / "bench").glob("*.json")
    rows = json.loads(path.read_text())["results"]
    assert rows
    assert all(row["ratio"] > 0 for row in rows)
    assert shown.count(rows[0]["name"][:10]) >= 2  # as it came, and in the whole table


def test_an_unknown_part_is_refused_with_those_there_are(tmp_path: Path) -> None:
    code, shown = _asked("--only", "codec,speed", "--work-dir", str(tmp_path))
    assert code == 2
    assert "speed" in shown
    assert "retrieval" in shown
    assert not list(tmp_path.iterdir())
