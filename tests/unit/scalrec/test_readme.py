"""Tables in the README come from committed run records and from nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadtest.summary.build import build_summary
from scalrec.readme import DOCUMENTS, render, update_documents
from shared.errors import DataError
from tests.support.runs import invent_run

ROOT = Path(__file__).parents[3]


def test_committed_documents_are_what_the_records_say() -> None:
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        assert "<!-- table:" in text
        assert render(text, ROOT) == text, f"run `scalrec report --docs .` again: {name}"


def test_a_run_fills_the_tables(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    invent_run(run_dir)
    summary = build_summary(run_dir)
    name = summary.run.log["log"]
    blocks = [
        f"<!-- table: {kind} {name} -->\nold\n<!-- /table -->" for kind in ("staleness", "ranking")
    ]
    (tmp_path / "README.md").write_text("# Title\n" + "\n\nprose\n\n".join(blocks) + "\nend\n")
    update_documents(tmp_path, summary)
    text = (tmp_path / "README.md").read_text()
    assert "old" not in text
    assert "prose" in text
    assert summary.paper is not None
    five = next(s for s in summary.paper.staleness if (s.setting, s.gap) == ("S1", 5))
    row = next(line for line in text.splitlines() if line.startswith("| S1 | 5 |"))
    assert f"{five.loss.value:+.4f}" in row
    assert len(re.findall(r"^\| ", text, re.MULTILINE)) > len(summary.paper.staleness)
    assert update_documents(tmp_path, summary) == [tmp_path / f"docs/results/{name}.json"]


def test_unknown_table_and_missing_record_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table is called 'sales'"):
        render("<!-- table: sales x -->\n<!-- /table -->", tmp_path)
    with pytest.raises(DataError, match=r"x\.json.*scalrec report --docs"):
        render("<!-- table: ranking x -->\n<!-- /table -->", tmp_path)
