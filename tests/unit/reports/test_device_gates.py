"""The committed record of a log becomes what the report of a run shows, by the same judgement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.gates import judge
from experiments.record import Figure, Record, write_record
from experiments.selection import Place
from experiments.spec import Experiment
from reports.page.device_gates import gate_record, read_gates
from reports.page.gates import DeviceGates
from shared.errors import DataError

COMMAND = "scalrec experiment run gates --log foursquare-nyc"
ROOT = Path(__file__).parents[3]
COMMITTED = sorted((ROOT / "docs/results/experiments/gates").glob("*.json"))


def device(experiment: Experiment, record: Record, profile: str) -> DeviceGates:
    found = gate_record(experiment, record, COMMAND).device(profile)
    assert found is not None
    return found


def written(record: Record, folder: Path) -> Path:
    path = folder / f"{record.log}.json"
    write_record(record, path)
    return path


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_verdicts_of_every_committed_record_are_those_of_its_page(
    path: Path, gates: Experiment
) -> None:
    record = Record.model_validate_json(path.read_text())
    shown = read_gates(path, path.stem, COMMAND)
    assert [d.profile for d in shown.devices] == list(record.profiles)
    for found in shown.devices:
        judged = judge(gates.gates, record, found.profile)
        assert {v.gate: v.status for v in found.verdicts} == {
            g: v.status for g, v in judged.items()
        }
        for verdict in found.verdicts:
            met = [evidence.met for evidence in verdict.evidence]
            if verdict.status != "not applicable":
                assert all(met) is (verdict.status == "holds")
            assert (verdict.decisive is None) is (not met)


def test_there_are_committed_records() -> None:
    assert {path.stem for path in COMMITTED} >= {"foursquare-nyc", "movielens-100k", "redial"}


def test_scores_and_payoffs_are_those_of_the_record(gates: Experiment, record: Record) -> None:
    small = device(gates, record, "small")
    names = {"calibrated": "calibrated", "uncalibrated": "stale", "structure": "structure"}
    gaps = {int(gap) for key in record.estimates if (gap := key.split("/")[4]) != "mean"}
    assert {(s.setting, s.gap, s.scorer) for s in small.scores} == {
        (setting, gap, name) for setting in ("S1", "S2") for gap in gaps for name in names
    }
    for score in small.scores:
        place = Place(profile="small", variant="base", setting=score.setting, gap=str(score.gap))
        figure = record.estimates[place.key(names[score.scorer])]
        assert (score.estimate.value, score.estimate.low, score.estimate.high) == figure[:3]
    for found in small.payoffs:
        place = Place(profile="small", variant="base", setting=found.setting, gap=str(found.gap))
        won = record.differences[place.key("calibration")]
        assert (found.bought_back.value, found.bought_back.low) == won[:2]
        if found.gap == 0:
            assert found.loss.value is None
            continue
        cost = record.differences[place.key("staleness")]
        assert cost.value is not None
        assert found.loss.value == -cost.value
        assert (found.loss.low, found.loss.high) == (-(cost.high or 0), -(cost.low or 0))
    assert [(p.setting, p.gap) for p in small.headline] == [("S1", 5), ("S2", 5)]


def test_a_gate_that_fails_is_decided_by_what_is_not_met(gates: Experiment, record: Record) -> None:
    place = Place(profile="tiny", variant="base", setting="S2", gap="10")
    harm = {place.key("calibrated-over-discount"): Figure(-0.02, -0.03, -0.01, 40)}
    harmed = record.model_copy(update={"differences": record.differences | harm})
    [verdict] = [v for v in device(gates, harmed, "tiny").verdicts if v.gate == "G4c"]
    assert verdict.status == "fails"
    decisive = verdict.decisive
    assert decisive is not None
    assert decisive.what == "calibrated over the discount tuned per gap"
    assert (decisive.where, decisive.met, decisive.estimate.value) == ("S2, gap 10", False, -0.02)
    [untouched] = [v for v in device(gates, record, "tiny").verdicts if v.gate == "G4c"]
    assert untouched.status == "holds"


def test_a_truncated_record_is_refused(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path)
    path.write_text(path.read_text()[:5000])
    with pytest.raises(DataError, match="Invalid JSON: EOF while parsing") as error:
        read_gates(path, record.log, COMMAND)
    assert str(path) in str(error.value)


def test_the_record_of_something_else_is_refused(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path)
    with pytest.raises(DataError, match="gates on foursquare-nyc, not of gates on redial"):
        read_gates(path, "redial", COMMAND)
    path = written(record.model_copy(update={"experiment": "drift"}), tmp_path)
    with pytest.raises(DataError, match="drift on foursquare-nyc, not of gates"):
        read_gates(path, record.log, COMMAND)


def test_figures_under_broken_keys_are_refused(record: Record, tmp_path: Path) -> None:
    path = written(record, tmp_path)
    content = json.loads(path.read_text())
    content["differences"]["tiny/base/staleness"] = [0.1, 0.0, 0.2, 40]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no place") as error:
        read_gates(path, record.log, COMMAND)
    assert str(path) in str(error.value)


def test_a_record_without_cells_is_refused(record: Record, tmp_path: Path) -> None:
    path = written(record.model_copy(update={"runs": ()}), tmp_path)
    with pytest.raises(DataError, match="without any finished cell"):
        read_gates(path, record.log, COMMAND)
