"""docs/python-api.md does what it says: its code runs, its names and columns are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import scalrec
from loadtest.records.recorder import RefreshRecord, RequestRecord
from tests.support.code_blocks import run_page

PAGE = Path(__file__).parents[2] / "docs" / "python-api.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALREC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_code_on_the_page_runs_in_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_page(PAGE)
    assert isinstance(names["trained"], scalrec.Trained)
    assert names["bundle"].path == Path("bundle")
    assert 0 <= names["trained"].figures["validation_full_fused"] <= 1
    requests, refreshes = names["requests"], names["refreshes"]
    assert requests.height == 30 * 4
    assert set(requests["source"].unique()) <= {"snapshot", "local"}
    assert names["by_age"]["requests"].sum() == requests.height
    assert set(refreshes["outcome"].unique()) <= {"fresh", "network", "breaker", "deadline"}
    assert names["run"].report.is_file()
    assert names["run"].summary.system.policy == "every-k, k = 5"
    assert names["advice"].quick
    assert names["advice"].verdict.sentence in capsys.readouterr().out
    again = scalrec.train(
        names["log"], embedder="hashing", settings=names["small"], work_dir="runs"
    )
    assert again.bundle.id == names["bundle"].id
    with pytest.raises(scalrec.ScalrecError, match="cannot export the bundle to bundle"):
        again.export("bundle")
    latest = scalrec.read_records()
    assert latest.equals(requests)
    with pytest.raises(scalrec.ScalrecError, match="no records called 'answers': name one of requ"):
        scalrec.read_records(names["run"], "answers")  # type: ignore[arg-type]


def test_the_page_names_what_there_is() -> None:
    text = PAGE.read_text()
    table = text.partition("\n\nOne row of `requests`")[2].partition("\n\nOne row of `refreshes`")
    rows = re.findall(r"^\| (`.*?) \| ", table[0], re.MULTILINE)
    columns = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(columns) > 10
    assert columns <= set(RequestRecord._fields)
    calls = table[2].partition("\n")[0].partition("`paper`")[0]
    assert set(re.findall(r"`(\w+)`", calls)) <= set(RefreshRecord._fields)
    calls = re.findall(r"^\| `(\w+)[.(]", text, re.MULTILINE)
    assert len(calls) >= 7
    assert set(calls) <= set(scalrec.__all__)


def test_no_run_is_told_of(folder: Path) -> None:
    with pytest.raises(scalrec.ScalrecError, match="no finished run under runs"):
        scalrec.read_records()
    (folder / "empty").mkdir()
    with pytest.raises(scalrec.ScalrecError, match="no such records"):
        scalrec.read_records("empty")
