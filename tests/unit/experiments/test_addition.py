"""Adding to a record: nothing is lost, mixed or told twice."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.addition import added
from experiments.record import CellRun, Extra, Figure, Record
from experiments.spec import Experiment
from shared.errors import DataError

EXPERIMENT = Experiment.model_validate(
    {
        "name": "trial",
        "question": "does it add up?",
        "paper": "none",
        "tables": {"all": {"title": "All"}},
        "logs": {"plays": {}},
        "profiles": ["tiny", "small"],
        "seeds": 1,
        "variants": {"base": {}, "more": {"training": {"epochs": 9}}},
    }
)


def _run(profile: str, variant: str, revision: str) -> CellRun:
    return CellRun(
        profile=profile,
        variant=variant,
        seed=0,
        started="2026-01-02T03:04:05+00:00",
        seconds=1.0,
        revision=revision,
        code="c",
        machine="m",
        threads=1,
    )


def _record(value: float, *cells: tuple[str, str], **changes: Any) -> Record:
    places = [f"{profile}/{variant}" for profile, variant in cells]
    figure = Figure(value=value, low=value, high=value, count=3)
    plain: dict[str, Any] = {
        "experiment": "trial",
        "log": "plays",
        "description": {"users": "3"},
        "terms": "",
        "repeat_policy": "allow",
        "draws": 10,
        "planned": 1,
        "settings": {"paper": {"steps": 5}, "training": {"epochs": int(value), "dim": 8}},
        "variants": dict(EXPERIMENT.variants),
        "runs": tuple(_run(*cell, f"r{value:g}") for cell in cells),
        "estimates": {f"{place}/structure/full/5/all/last/ndcg10": figure for place in places},
        "differences": {f"{place}/gain/full/5/all/last/ndcg10": figure for place in places},
        "extras": {place: {"seconds": Extra(value, None, 1)} for place in places},
    }
    return Record(**plain | changes)


def test_other_cells_stay_with_their_own_revision_and_in_order() -> None:
    before = _record(1.0, ("tiny", "base"), ("small", "base"))
    both = added(EXPERIMENT, _record(2.0, ("tiny", "more")), before)
    cells = [("tiny", "base"), ("tiny", "more"), ("small", "base")]
    assert [(r.profile, r.variant) for r in both.runs] == cells
    assert [r.revision for r in both.runs] == ["r1", "r2", "r1"]
    assert [key.split("/")[:2] for key in both.estimates] == [list(cell) for cell in cells]
    assert [figure.value for figure in both.differences.values()] == [1.0, 2.0, 1.0]
    assert list(both.extras) == ["tiny/base", "tiny/more", "small/base"]
    assert both.settings == {"paper": {"steps": 5}, "training": {"dim": 8}}


def test_a_cell_that_was_computed_anew_replaces_all_that_was_told_of_it() -> None:
    before = _record(1.0, ("tiny", "base"))
    before.estimates["tiny/base/gone/full/5/all/last/ndcg10"] = Figure(1.0, 1.0, 1.0, 3)
    record = _record(2.0, ("tiny", "base"))
    assert added(EXPERIMENT, record, before) == record


def test_a_variant_that_there_is_no_longer_goes() -> None:
    before = _record(1.0, ("tiny", "base"), ("tiny", "former"))
    both = added(EXPERIMENT, _record(2.0, ("tiny", "more")), before)
    assert [r.variant for r in both.runs] == ["base", "more"]
    assert not any("former" in key for key in both.estimates)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"description": {"users": "4"}}, "another description"),
        ({"draws": 20}, "another draws"),
        ({"repeat_policy": "exclude"}, "another repeat_policy"),
        ({"settings": {"paper": {"steps": 10}}}, r"another paper\.steps"),
    ],
)
def test_nothing_is_added_to_what_was_judged_otherwise(changes: dict[str, Any], told: str) -> None:
    before = _record(1.0, ("tiny", "base"), **changes)
    with pytest.raises(DataError, match=told):
        added(EXPERIMENT, _record(2.0, ("tiny", "more")), before)


def test_what_a_variant_sets_and_what_only_one_knows_may_differ() -> None:
    before = _record(1.0, ("tiny", "base"), settings={"training": {"epochs": 1, "old": True}})
    both = added(EXPERIMENT, _record(2.0, ("tiny", "more")), before)
    assert len(both.runs) == 2
