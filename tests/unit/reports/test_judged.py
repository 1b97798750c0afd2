"""The committed record of a log becomes what the report of a run shows, by the same judgement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.gates import judge
from experiments.record import Figure, Record, write_record
from experiments.selection import Place
from experiments.spec import Experiment
from reports.page.judged import JudgedRecord, read_judged
from reports.page.tables.gates import evidence_table
from shared.errors import DataError

COMMAND = "scalrec experiment run gates --log foursquare-nyc"
ROOT = Path(__file__).parents[3]
COMMITTED = sorted((ROOT / "docs/results/experiments/gates").glob("*.json"))


def written(record: Record, folder: Path) -> Path:
    path = folder / f"{record.log}.json"
    write_record(record, path)
    return path


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_verdicts_of_every_committed_record_are_those_of_its_page(
    path: Path, gates: Experiment
) -> None:
    record = Record.model_validate_json(path.read_text())
    shown = read_judged(path, path.stem, COMMAND)
    assert list(shown.verdicts) == list(record.profiles)
    for profile, verdicts in shown.verdicts.items():
        judged = judge(gates.gates, record, profile)
        assert {g: v.status for g, v in verdicts.items()} == {
            g: v.status for g, v in judged.items()
        }
        for verdict in verdicts.values():
            met = [evidence.met for evidence in verdict.evidence]
            if verdict.status != "not applicable":
                assert all(met) is (verdict.status == "holds")
            assert (verdict.decisive is None) is (not met)


def test_there_are_committed_records() -> None:
    assert {path.stem for path in COMMITTED} >= {"movielens-100k", "redial"}


def test_scores_and_payoffs_are_those_of_the_record(gates: Experiment, record: Record) -> None:
    shown = JudgedRecord.of(gates, record, COMMAND)
    names = {"calibrated": "calibrated", "uncalibrated": "stale", "structure": "student"}
    gaps = {int(gap) for key in record.estimates if (gap := key.split("/")[4]) != "mean"}
    assert {score[:3] for score in shown.scores("small")} == {
        (setting, gap, name) for setting in ("S1", "S2", "device") for gap in gaps for name in names
    }
    for setting, gap, scorer, figure in shown.scores("small"):
        place = Place(profile="small", variant="base", setting=setting, gap=str(gap))
        assert figure == record.estimates[place.key(names[scorer])]
    for setting, gap in shown.gaps("small"):
        place = Place(profile="small", variant="base", setting=setting, gap=str(gap))
        won = record.differences[place.key("calibration")]
        assert shown.named("small", setting, gap, "calibration") == won
        loss = shown.loss("small", setting, gap)
        if gap == 0:
            assert loss.value is None
            continue
        cost = record.differences[place.key("staleness")]
        assert cost.value is not None
        assert loss.value == -cost.value
        assert (loss.low, loss.high) == (-(cost.high or 0), -(cost.low or 0))
    assert shown.headline("small") == [("S1", 5), ("S2", 5), ("device", 5)]


def test_the_own_score_takes_the_place_of_structure_where_a_record_has_it(
    gates: Experiment, record: Record
) -> None:
    place = Place(profile="tiny", variant="base", setting="device", gap="5")
    own = Figure(value=0.4, low=0.3, high=0.5, count=40)
    over = Figure(value=0.02, low=0.01, high=0.03, count=40)
    # Of before devices had counts and words, and were judged under what they rank.
    without = ("/student/", "/device/", "/calibrated-over-own/")
    old = record.model_copy(
        update={
            part: {
                k: f for k, f in getattr(record, part).items() if not any(n in k for n in without)
            }
            for part in ("estimates", "differences")
        }
    )
    newer = old.model_copy(
        update={
            "estimates": old.estimates | {place.key("student"): own},
            "differences": old.differences | {place.key("calibrated-over-own"): over},
        }
    )
    shown = JudgedRecord.of(gates, newer, COMMAND)
    assert shown.scores("tiny")[-1] == ("device", 5, "structure", own)
    assert [score for score in shown.scores("tiny") if score[2] == "structure"] == [
        ("device", 5, "structure", own)
    ]
    assert shown.over_own("tiny", "device", 5) == over
    older = JudgedRecord.of(gates, old, COMMAND)
    s1 = Place(profile="tiny", variant="base", setting="S1", gap="5")
    expected = record.differences[s1.key("calibrated-over-structure")]
    assert older.over_own("tiny", "S1", 5) == expected


def test_a_gate_that_fails_is_decided_by_what_is_not_met(gates: Experiment, record: Record) -> None:
    place = Place(profile="tiny", variant="base", setting="S2", gap="10")
    harm = {
        place.key("calibrated-over-discount"): Figure(value=-0.02, low=-0.03, high=-0.01, count=40)
    }
    harmed = record.model_copy(update={"differences": record.differences | harm})
    shown = JudgedRecord.of(gates, harmed, COMMAND)
    verdict = shown.verdicts["tiny"]["G4c"]
    assert verdict.status == "fails"
    decisive = verdict.decisive
    assert decisive is not None
    assert (decisive.met, decisive.figure.value) == (False, -0.02)
    checks = [r for r in evidence_table(shown, "full").rows if r.group == "tiny G4c"]
    [row] = [check for check in checks if check.cells[3].text == "no"]
    assert row.heads[2] == "calibrated over a discount tuned by age, with words on both sides"
    assert row.cells[0].text == "S2, gap 10"
    assert JudgedRecord.of(gates, record, COMMAND).verdicts["tiny"]["G4c"].status == "holds"


def test_a_truncated_record_is_refused(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path)
    path.write_text(path.read_text()[:5000])
    with pytest.raises(DataError, match="Invalid JSON: EOF while parsing") as error:
        read_judged(path, record.log, COMMAND)
    assert str(path) in str(error.value)


def test_the_record_of_something_else_is_refused(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path)
    with pytest.raises(DataError, match="gates on foursquare-nyc, not of gates on redial"):
        read_judged(path, "redial", COMMAND)
    path = written(record.model_copy(update={"experiment": "drift"}), tmp_path)
    with pytest.raises(DataError, match="drift on foursquare-nyc, not of gates"):
        read_judged(path, record.log, COMMAND)


def test_figures_under_broken_keys_are_refused(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path)
    content = json.loads(path.read_text())
    content["differences"]["tiny/base/staleness"] = [0.1, 0.0, 0.2, 40]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no place") as error:
        read_judged(path, record.log, COMMAND)
    assert str(path) in str(error.value)


def test_a_record_without_cells_is_refused(record: Record, tmp_path: Path) -> None:
    path = written(record.model_copy(update={"runs": ()}), tmp_path)
    with pytest.raises(DataError, match="without any finished cell"):
        read_judged(path, record.log, COMMAND)
