"""A whole cell of the frontier, small: trained, judged, driven, and found again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from experiments.studies.cell import CellScores
from experiments.studies.frontier.study import run_cell
from experiments.study import checked
from shared.errors import DataError
from shared.progress import NullProgress
from tests.support.frontier import LOG, STEPS, USERS, settings_for


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> CellScores:
    settings = settings_for(tmp_path_factory.mktemp("frontier"))
    return asyncio.run(run_cell(settings, LOG, HashingEmbedder(32), progress=NullProgress()))


def rate(cell: CellScores, scorer: str, setting: str, column: str = "calls") -> float:
    rows = cell.scores.filter((pl.col("scorer") == scorer) & (pl.col("setting") == setting))
    return float(rows[column].sum() / rows["n"].sum())


def test_every_policy_is_scored_as_experiments_want_it(cell: CellScores) -> None:
    scores = checked(cell).scores
    assert scores["n"].unique().to_list() == [STEPS - 1]
    assert scores["user"].n_unique() == USERS
    named = set(scores["scorer"])
    assert {"every-k", "time-to-live", "drift", "drift-fleet", "accumulated-gain-fleet"} <= named
    assert {"never", "always", "alone", "oracle", "oracle-fleet"} <= named
    assert {s.rpartition("-")[0] for s in scores["setting"]} == {
        "plain", "calibrated", "plain-outages", "calibrated-outages",
    }  # fmt: skip
    assert cell.extras["tokens_per_call"] > 10


def test_realised_calls_are_those_of_the_policy(cell: CellScores) -> None:
    assert rate(cell, "always", "plain-100") == 1.0
    assert rate(cell, "never", "plain-000") == 0.0
    # Of the requests 1 .. 11, every third asks: 3, 6 and 9.
    assert rate(cell, "every-k", "plain-033") == pytest.approx(3 / 11)
    assert rate(cell, "every-k", "calibrated-010") == pytest.approx(1 / 11)
    assert rate(cell, "random-fleet", "plain-050") == pytest.approx(0.5, abs=0.06)


def test_outages_refuse_some_of_what_is_asked(cell: CellScores) -> None:
    asked, served = (rate(cell, "always", "plain-outages-100", c) for c in ("calls", "served"))
    assert asked == 1.0
    assert 0.4 < served < 0.95


def test_nobody_beats_the_oracle_at_its_calls(cell: CellScores) -> None:
    for mode in ("plain", "calibrated"):
        most = rate(cell, "oracle-fleet", f"{mode}-100", "ndcg10")
        for scorer in ("every-k", "always", "drift-fleet"):
            assert rate(cell, scorer, f"{mode}-100", "ndcg10") <= most + 1e-9


@pytest.mark.slow
async def test_a_second_run_reuses_the_evidence(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = await run_cell(settings, LOG, HashingEmbedder(32), progress=NullProgress())
    kept = list((tmp_path / "runs" / "stages").glob("evidence-*/stage.json"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    other = settings_for(tmp_path, budgets=(0.2,))
    again = await run_cell(other, LOG, HashingEmbedder(32), progress=NullProgress())
    assert kept[0].stat().st_mtime_ns == before
    never = pl.col("scorer") == "never"
    columns = ["user", "setting", "ndcg10"]
    assert first.scores.filter(never)[columns].equals(again.scores.filter(never)[columns])


async def test_a_window_no_user_fills_is_refused(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, steps=STEPS + 1)
    with pytest.raises(DataError, match=r"frontier\.steps"):
        await run_cell(settings, LOG, HashingEmbedder(32), progress=NullProgress())
    assert not np.any(list((tmp_path / "runs").glob("stages/*")))
