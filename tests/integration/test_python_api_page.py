"""docs/python-api.md does what it says: its code runs, its names and columns are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import scalrec
from loadtest.records.recorder import RefreshRecord, RequestRecord
from tests.support.code_blocks import CodeBlock, code_blocks, run_blocks
from tests.support.small_log import small_log

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
    names = run_blocks(code_blocks(PAGE)[1:])
    assert isinstance(names["trained"], scalrec.Trained)
    assert names["bundle"].path == Path("bundle")
    assert 0 <= names["trained"].figures["validation_full_fused"] <= 1
    requests, refreshes = names["requests"], names["refreshes"]
    assert requests.height == 30 * 4
    assert set(requests["source"].unique()) <= {"snapshot", "local"}
    assert names["by_age"]["len"].sum() == requests.height
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


def test_the_example_in_short_runs_on_a_small_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_log(folder)
    for name, value in {"EPOCHS": 1, "SEMANTIC_EPOCHS": 1, "TEST_STEPS": 4}.items():
        monkeypatch.setenv(f"SCALREC_TRAINING__{name}", str(value))
    short = code_blocks(PAGE)[0]
    code = short.code.replace('"transformers"', '"hashing"')
    assert code != short.code
    names = run_blocks([CodeBlock(PAGE, short.line, code)])
    titles = names["log"].interactions.catalogue.titles
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    assert {line.partition(" ")[2] for line in printed} <= set(titles)
    assert names["device"].recommend(5).source == "snapshot"


def test_what_the_readme_shows_stands_on_the_page() -> None:
    shown = {block.code for block in code_blocks(PAGE)}
    assert {block.code for block in code_blocks(PAGE.parents[1] / "README.md")} <= shown


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
