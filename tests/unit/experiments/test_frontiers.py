"""Frontiers: curves read both ways, and savings found where they were put."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments import spec
from experiments.aggregate import aggregate
from experiments.cells import Cell
from experiments.curves import Curves
from experiments.frontiers import at_level, key
from experiments.record import Record, read_record, write_record
from experiments.spec import Experiment
from reports.experiments import publish
from tests.support.cells import store_cell
from tests.support.logs import drifting_log

USERS, STEPS = 60, 20
FLAT = "calibrated-outages"  # calls buy nothing there
BUDGETS = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)


def curves(calls: list[float], quality: list[float]) -> Curves:
    return Curves.fitted(np.array([calls]), np.array([quality]))


def test_a_curve_is_read_along_either_axis() -> None:
    found = curves([0.2, 0.0, 1.0], [0.5, 0.4, 0.6])
    assert found.quality_at(0.1)[0] == pytest.approx(0.45)
    assert found.calls_for(np.array([0.45]))[0] == pytest.approx(0.1)
    assert found.calls_for(np.array([0.3]))[0] == 0.0
    assert found.calls_for(np.array([0.7]))[0] == 1.0  # nothing reaches it


def test_quality_that_falls_is_levelled() -> None:
    found = curves([0.1, 0.2, 0.4], [0.5, 0.4, 0.6])
    assert found.quality[0] == pytest.approx([0.45, 0.45, 0.6])


def test_the_area_of_a_level_curve_is_its_level() -> None:
    assert curves([0.01, 1.0], [0.3, 0.3]).area()[0] == pytest.approx(0.3)
    steep, flat = curves([0.01, 0.02, 1.0], [0.1, 0.3, 0.3]), curves([0.01, 1.0], [0.1, 0.3])
    assert steep.area()[0] > flat.area()[0]


def quality(calls: float) -> float:
    return 0.3 + 0.1 * calls**0.5


def invented(seed: int, thrift: float) -> pl.DataFrame:
    """Every-k at ``quality``, and "thrifty" that reaches the same with ``thrift`` of the calls."""
    rng = np.random.default_rng(seed)
    level = np.random.default_rng(9).normal(0.0, 0.05, USERS)
    tables = []
    points = [("every-k", b, quality(b)) for b in BUDGETS]
    points += [("thrifty", b * thrift, quality(b)) for b in BUDGETS]
    points += [("never", 0.0, quality(0.0)), ("always", 1.0, quality(1.0)), ("alone", 0.0, 0.2)]
    points += [("oracle", b, 0.6) for b in BUDGETS]
    for family in ("plain", "calibrated", "plain-outages", "calibrated-outages"):
        for place, (name, calls, value) in enumerate(points):
            if family == FLAT:
                value = 0.4
            found = np.clip(value + level + rng.normal(0, 0.002, USERS), 0, 1) * STEPS
            tables.append(
                pl.DataFrame(
                    {
                        "user": np.arange(USERS, dtype=np.int32),
                        "scorer": name,
                        "setting": f"{family}-{place % 100:03d}",
                        "gap": 0,
                        "part": "all",
                        "loo": False,
                        "n": STEPS,
                        **dict.fromkeys(("ndcg10", "ndcg5", "hr10", "hr5"), found),
                        "calls": np.full(USERS, calls * STEPS),
                        "served": np.full(USERS, calls * STEPS),
                    }
                )
            )
    return pl.concat(tables)


@pytest.fixture(scope="module")
def frontier() -> Experiment:
    return spec.load("frontier")


@pytest.fixture(scope="module")
def record(frontier: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Record:
    store = tmp_path_factory.mktemp("store")
    cell = Cell("movielens-100k", "tiny", "base", 0)
    finished = store_cell(store, cell, invented(0, 0.5))
    log = drifting_log(users=USERS)
    return aggregate(frontier, log, "exclude", [(cell, finished)], draws=100)


def figure(record: Record, scorer: str, quantity: str) -> tuple[float, float, float]:
    found = record.frontiers[key("tiny", "base", "plain", scorer, quantity)]
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    return found.value, found.low, found.high


def test_half_the_calls_are_found_to_be_half(record: Record) -> None:
    for level in (0.05, 0.1, 0.2):
        value, low, high = figure(record, "thrifty", at_level("calls-needed", level))
        assert value == pytest.approx(0.5, abs=0.06)
        assert low < 0.5 < high < 0.8
        assert figure(record, "thrifty", at_level("gain", level))[1] > 0
    assert figure(record, "thrifty", "area-gain")[1] > 0


def test_the_baseline_gains_nothing_over_itself(record: Record) -> None:
    assert figure(record, "every-k", "area-gain") == (0.0, 0.0, 0.0)
    assert figure(record, "every-k", "gain-010") == (0.0, 0.0, 0.0)
    assert figure(record, "every-k", "calls-needed-010")[0] == pytest.approx(1.0)


def test_where_calls_buy_nothing_none_are_saved(record: Record) -> None:
    found = record.frontiers[key("tiny", "base", FLAT, "thrifty", "calls-needed-010")]
    assert found.value is None
    assert record.frontiers[key("tiny", "base", FLAT, "thrifty", "gain-010")].value is not None


def test_calls_are_estimated_like_scores(record: Record) -> None:
    place = "tiny/base/every-k/plain-002/0/all/last/"
    assert record.estimates[place + "calls"].value == pytest.approx(0.1)
    assert record.estimates[place + "ndcg10"].value == pytest.approx(quality(0.1), abs=0.02)


def test_pages_and_charts_come_from_the_record(record: Record, tmp_path: Path) -> None:
    path = publish.record_path(tmp_path, "frontier", record.log)
    write_record(record, path)
    assert read_record(path).frontiers.keys() == record.frontiers.keys()
    publish.regenerate(tmp_path, ["frontier"])
    page = (path.parent / "README.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| tiny | thrifty | 0."))
    assert "0.5" in row.split("|")[-2]
    chart = (path.parent / "movielens-100k-ndcg.svg").read_text()
    assert "every-k" in chart
    assert "cloud calls per request" in chart
    assert publish.regenerate(tmp_path, ["frontier"]) == []
