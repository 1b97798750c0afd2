"""Tables in README and docs come from committed run records and from nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.documents import documents, render, staleness_table, update_documents
from reports.summary.build import build_summary
from shared.errors import DataError
from tests.support.runs import invent_run

ROOT = Path(__file__).parents[3]


def test_committed_documents_are_what_the_records_say() -> None:
    found = documents(ROOT)
    assert {"README.md", "docs/calibration.md", "docs/demo.md", "docs/scenarios.md"} <= set(found)
    for name in found:
        text = (ROOT / name).read_text()
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


def test_every_page_under_docs_is_filled_and_no_other_is_touched(tmp_path: Path) -> None:
    summary = build_summary(invent_run(tmp_path / "run"))
    block = f"<!-- table: staleness {summary.run.log['log']} -->\nold\n<!-- /table -->\n"
    (tmp_path / "docs" / "guide").mkdir(parents=True)
    (tmp_path / "README.md").write_text("# No table\n")
    (tmp_path / "docs" / "guide" / "results.md").write_text(f"# Results\n{block}end\n")
    (tmp_path / "docs" / "words.md").write_text("The README holds `<!-- table: KIND -->`.\n")
    changed = update_documents(tmp_path, summary)
    assert [path.name for path in changed[1:]] == ["results.md"]
    assert documents(tmp_path) == ("docs/guide/results.md",)
    text = (tmp_path / "docs" / "guide" / "results.md").read_text()
    assert "| S1 | 5 |" in text
    assert "old" not in text
    assert text.endswith("end\n")


def test_unknown_table_and_missing_record_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table is called 'sales'"):
        render("<!-- table: sales x -->\n<!-- /table -->", tmp_path)
    with pytest.raises(DataError, match=r"x\.json.*scalrec report --docs"):
        render("<!-- table: ranking x -->\n<!-- /table -->", tmp_path)


def test_gap_0_is_shown_without_a_loss(tmp_path: Path) -> None:
    lines = staleness_table(build_summary(invent_run(tmp_path / "run"))).splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| S1 | ")]
    assert [row[1].strip() for row in rows] == ["0", "5", "10", "20"]
    assert [cell.strip() for cell in rows[0][-2:]] == ["", ""]
    assert all("[" in cell for cell in rows[1][-2:])


def test_a_record_names_no_place_on_the_machine(tmp_path: Path) -> None:
    summary = build_summary(invent_run(tmp_path / "run"))
    settings = {"cache": "/home/me/.cache", "log": {"path": "/home/me/plays.tsv", "name": "plays"}}
    run = summary.run.model_copy(update={"settings": summary.run.settings | settings})
    (tmp_path / "README.md").write_text("# Title\n")
    record, *_ = update_documents(tmp_path, summary.model_copy(update={"run": run}))
    text = record.read_text()
    assert "/home/me" not in text
    assert "plays.tsv" in text
