"""`scalrec data show` on a file of one's own: what a user reads before they trust a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from scalrec.cli import build_app

T = 1_700_000_000
COLUMNS = "user=listener,item=track,time=played_at"


@pytest.fixture
def plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Plays of eight listeners, an hour apart; the last track has no title in tracks.csv."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{u},{(u + n) % 5},{T + 3600 * n + u}" for u in range(8) for n in range(10)]
    path = tmp_path / "plays.csv"
    path.write_text("\n".join(["listener,track,played_at", *rows, rows[0], rows[3]]) + "\n")
    titles = ["[bold]Blue Train[/bold]", "So What", "Teardrop", "Army of Me"]
    (tmp_path / "tracks.csv").write_text(
        "track,title,genre\n" + "".join(f"{n},{title},jazz\n" for n, title in enumerate(titles))
    )
    return path


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(build_app(), ["data", "show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_to_look_at_is_told_with_what_to_change(plays: Path) -> None:
    told = shown("--log", str(plays), "--columns", COLUMNS, "--items", "tracks.csv")
    lines = [" ".join(line.split()) for line in told.splitlines()]
    for line in (
        "interactions 80",
        "! item text 4 of 5 items (80.0 %) have some",
        "! words per item median 3; without any: 1 of 5 items",
        "! duplicate rows 2 of 82 rows (2.4 %), dropped",
        "→ if they are events of their own: --set log.duplicates=keep",
        "✓ tied times 0.0 % of events share their time with another of the same user",
        "✓ events per user median 10 (5th and 95th percentile 10 and 10); 8 of 8 users can be "
        "tested",
        "3 of 8 look doubtful",
        "note 4 of the log's 5 items (80.0%) have item text",
    ):
        assert line in lines
    assert any("gaps between requests median 3,600 s; 0.0 % within a minute" in x for x in lines)
    assert any("events per day median 40 over 2 days" in line for line in lines)
    # The tracks are met equally often: the first, the third and the last.
    for sample in ("0 [bold]Blue Train[/bold]. jazz", "2 Teardrop. jazz", "4 unknown item"):
        assert sample in lines


def test_an_order_alone_is_said_to_be_one(plays: Path) -> None:
    told = shown("--log", str(plays), "--columns", "user=listener,item=track")
    assert "time span  order only, no times" in told
    assert told.count("not known: the log has no times") == 4
    assert "name the column of times if there is one (time= in --columns)" in told


def test_what_cannot_be_trained_on_is_shown_with_a_warning(plays: Path) -> None:
    one = plays.with_name("one.csv")
    one.write_text("user,item,time\n" + "".join(f"u,{n % 4},{T + n}\n" for n in range(20)))
    told = shown("--log", str(one))
    assert "warning it cannot be trained on: log 'one' has a single user" in " ".join(told.split())
