"""The report of a run shows the gates of its log by device profile, or says how to get them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.replay.run_info import read_run_info, write_run_info
from reports import run_report as reporting
from reports import text
from reports.experiments.publish import record_path
from reports.page import gates
from reports.page.judged import JudgedRecord, NoRecord
from reports.run_report import gates_of, report_run
from shared.profile import PRESETS
from tests.support.page import Page
from tests.support.runs import invent_run

LOG = "redial"
COMMITTED = record_path(Path(__file__).parents[3] / "docs/results", "gates", LOG)
GRID = "Which gates hold, by device"
CHARTS = {f"spec-gates-{s}{what}" for s in ("S1", "S2") for what in ("", "-differences")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the user's own, so that docs/results there is theirs."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def a_run(folder: Path, log: str = LOG, profile: str = "small", **settings: Any) -> Path:
    run_dir = invent_run(folder)
    info = read_run_info(run_dir)
    write_run_info(
        run_dir,
        info.model_copy(
            update={
                "log": info.log | {"log": log},
                "profile": PRESETS.get(profile, PRESETS["small"]).model_copy(
                    update={"name": profile, "local_candidates": 0}
                ),
                "settings": info.settings | {"log": settings},
            }
        ),
    )
    return run_dir


def page_of(run_dir: Path) -> Page:
    return Page(report_run(run_dir).read_text(encoding="utf-8"))


def words(page: Page) -> str:
    return " ".join("".join(page.words).split())


def test_a_log_with_a_record_shows_every_verdict_and_marks_its_device(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path / "run")
    page = page_of(run_dir)
    record = gates_of(read_run_info(run_dir))
    assert isinstance(record, JudgedRecord)
    grid = page.tables[GRID]
    assert grid[0] == ["", "Gate", "tiny", "small, this run"]
    assert [row[0] for row in grid[1:]] == list(record.experiment.gates)
    for row in grid[1:]:
        for cell, verdicts in zip(row[2:], record.verdicts.values(), strict=True):
            verdict = verdicts[row[0]]
            said = "not asked" if verdict.status == "not applicable" else verdict.status
            assert cell.startswith(said)
            if verdict.decisive is not None and verdict.decisive.key in record.record.differences:
                figure = verdict.decisive.figure
                assert cell.endswith(text.interval(figure, with_sign=True))
    assert set(page.specs) >= CHARTS
    assert "Left unused. G5 holds" in words(page)
    for gate, verdict in record.verdicts["small"].items():
        assert (f"{gate} fails" in words(page)) is (verdict.status == "fails")
    spec = json.loads(page.specs["spec-gates-S1-differences"])
    bought_back = record.named("small", "S1", 5, "calibration").value
    assert f"gap 5 over uncalibrated {bought_back:+.4f}" in spec["description"]


def test_what_differs_between_record_and_run_is_said(tmp_path: Path) -> None:
    said = words(page_of(a_run(tmp_path / "run", log="movielens-100k", profile="tiny")))
    assert "judged on 943 users, 1,682 items and 100,000 interactions" in said
    assert "this run’s log has 40, 1,700 and 2,000" in said
    assert "judged with the text model minilm, this run used all-MiniLM-L6-v2" in said
    assert "under the repeat policy exclude, this run followed allow" in said


@pytest.mark.parametrize(
    ("name", "altered", "said"),
    [
        ("small", {"local_candidates": 0}, True),
        ("small", {}, False),
        ("tiny", {}, False),  # it has no table to retrieve from
    ],
)
def test_a_device_that_leaves_out_what_pays_is_told(
    tmp_path: Path, name: str, altered: dict[str, int], said: bool
) -> None:
    record = gates_of(read_run_info(a_run(tmp_path / "run")))
    assert isinstance(record, JudgedRecord)
    assert name in record.verdicts
    sentence = gates.unused(record, PRESETS[name].model_copy(update=altered))
    assert bool(sentence) is said
    if said:
        local = record.verdicts[name]["G5"]
        assert local.decisive is not None
        assert text.signed(local.decisive.figure.value) in sentence
        assert "profile.local_candidates, as of the full device" in sentence


def test_a_device_of_ones_own_gets_the_grid_and_is_told(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path / "run", profile="watch"))
    assert "watch, is none of those the gates were judged for (tiny, small)" in words(page)
    assert page.tables[GRID][0][2:] == ["tiny", "small"]
    assert not CHARTS & set(page.specs)


def test_a_log_without_a_record_names_the_command_that_makes_it(tmp_path: Path) -> None:
    own = {"path": "/data/my events.csv", "columns": "user=u,item=i,time=t", "items": None}
    page = page_of(a_run(tmp_path / "run", log="mine", **own))
    said = words(page)
    assert "No gates have been judged for mine" in said
    assert (
        "scalrec experiment run gates --log 'mine=/data/my events.csv' "
        "--columns user=u,item=i,time=t" in said
    )
    assert "This run alone, one seed of one device: at 6 pairs of setting and gap" in said
    assert GRID not in page.tables
    assert {f"#{i}" for i in page.ids} >= set(page.addresses)


def test_a_record_made_in_the_working_folder_is_found_first(
    tmp_path: Path, elsewhere: Path
) -> None:
    content = json.loads(COMMITTED.read_text())
    key = "small/base/fresh-calibration/S1/0/all/last/ndcg10"
    content["differences"][key] = [-0.5, -0.6, -0.4, 943]
    own = record_path(elsewhere / "docs/results", "gates", LOG)
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps(content))
    page = page_of(a_run(tmp_path / "run"))
    [row] = [row for row in page.tables[GRID] if row[0] == "G4b"]
    assert row[3] == "fails −0.5000 [−0.6000,\u00a0−0.4000]"
    assert "G4b fails (calibration costs nothing when the snapshot is fresh)" in words(page)


def test_a_damaged_record_costs_the_section_not_the_report(tmp_path: Path, elsewhere: Path) -> None:
    own = record_path(elsewhere / "docs/results", "gates", LOG)
    own.parent.mkdir(parents=True)
    own.write_text(COMMITTED.read_text()[:9000])
    page = page_of(a_run(tmp_path / "run"))
    said = words(page)
    assert "Record refused." in said
    assert f"docs/results/experiments/gates/{LOG}.json" in said
    assert "not the record of an experiment" in said
    assert f"scalrec experiment run gates --log {LOG}" in said
    assert GRID not in page.tables
    assert "Whole catalogue, last steps" in page.tables


@pytest.mark.parametrize("name", ["", "../../secret", "a/b"])
def test_names_that_are_no_file_names_are_not_looked_for(tmp_path: Path, name: str) -> None:
    info = read_run_info(a_run(tmp_path / "run", log=name))
    assert isinstance(gates_of(info, [COMMITTED.parents[2]]), NoRecord)


def test_an_installation_without_results_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_folders", lambda: (Path("docs/results"),))
    found = gates_of(read_run_info(a_run(tmp_path / "run")))
    assert found == NoRecord(LOG, f"scalrec experiment run gates --log {LOG}")
