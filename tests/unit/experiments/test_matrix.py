"""A matrix: all pairs of scorers once, and a table that reads each from both sides."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from experiments.aggregate import aggregate
from experiments.cells import Cell
from experiments.record import Extra, Record
from experiments.spec import Experiment
from reports.experiments.rival_tables import BETTER, EVEN, SELF, WORSE
from reports.experiments.tables import table_text
from tests.support.cells import store_cell
from tests.support.logs import drifting_log

ASKED = {
    "name": "who",
    "question": "Who?",
    "paper": "none",
    "profiles": ["tiny"],
    "matrices": {
        "m": {"scorers": ["good", "same", "bad", "gone"], "settings": ["full"], "gaps": [5]}
    },
    "extras": ["bytes_*"],
    "tables": {
        "who": {
            "title": "Who", "show": "matrix", "matrix": "m", "rows": ["log", "profile"],
            "settings": ["full"], "gaps": [5],
        },
        "costs": {
            "title": "Costs", "show": "costs", "names": ["bytes", "seconds"],
            "rows": ["profile", "name"], "columns": "metric",
        },
    },
}  # fmt: skip
USERS = 30


def scores() -> pl.DataFrame:
    """One step a user; good and same are equal on average, bad is never right."""
    right = {
        "good": [1.0 if user % 2 else 0.5 for user in range(USERS)],
        "same": [0.5 if user % 2 else 1.0 for user in range(USERS)],
        "bad": [0.0] * USERS,
    }
    frames = [
        pl.DataFrame(
            {
                "user": range(USERS), "scorer": name, "setting": "full", "gap": 5, "part": "all",
                "loo": False, "n": 1, "ndcg10": values, "ndcg5": values, "hr10": values,
                "hr5": values,
            }
        )
        for name, values in right.items()
    ]  # fmt: skip
    return pl.concat(frames)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder, cell = tmp_path_factory.mktemp("cells"), Cell("drifting", "tiny", "base", 0)
    stored = store_cell(folder, cell, scores())
    log = drifting_log(users=USERS)
    return aggregate(Experiment.model_validate(ASKED), log, "allow", [(cell, stored)], draws=200)


def test_each_pair_is_a_difference_once() -> None:
    experiment = Experiment.model_validate(ASKED)
    assert list(experiment.differences) == [
        "good-over-same", "good-over-bad", "good-over-gone", "same-over-bad", "same-over-gone",
        "bad-over-gone",
    ]  # fmt: skip
    assert experiment.label("good-over-bad") == "good over bad"


def test_a_mark_says_who_is_significantly_above_whom(record: Record) -> None:
    experiment = Experiment.model_validate(ASKED)
    text = table_text(experiment, experiment.tables["who"], [record])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines == [
        "|  | good | same | bad |",
        "| --- | --- | --- | --- |",
        f"| good | {SELF} | {EVEN} | {BETTER} |",
        f"| same | {EVEN} | {SELF} | {BETTER} |",
        f"| bad | {WORSE} | {WORSE} | {SELF} |",
    ]
    assert "`tiny`" in text
    assert "clustered by user" in text


def test_costs_stand_in_a_row_for_each_scorer(record: Record) -> None:
    experiment = Experiment.model_validate(ASKED)
    extras = {"bytes_good": 8.0, "bytes_a_b": 4.0, "seconds_good": 2.5, "other_good": 1.0}
    measured = {"tiny/base": {name: Extra(value, None, 1) for name, value in extras.items()}}
    told = record.model_copy(update={"extras": measured})
    text = table_text(experiment, experiment.tables["costs"], [told])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == "| profile |  | bytes | seconds |"
    assert lines[2:] == ["| tiny | good | 8 | 2.5 |", "| tiny | a_b | 4 | – |"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"matrices": {"m": {"scorers": ["a"]}}}, "two scorers at least"),
        ({"matrices": {}}, "no matrix is called 'm'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Experiment.model_validate(ASKED | changes)
