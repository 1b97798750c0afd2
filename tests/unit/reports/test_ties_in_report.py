"""Records with ties are scored over every order of them; those without such a column as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadtest.records.rank_columns import rank_fields, read_ranks
from reports.summary.build import build_summary
from shared.metrics import Rank, ndcg
from tests.support.runs import invent_run


def popularity(run: Path) -> dict[str, float | None]:
    full, system = build_summary(run).full, build_summary(run).system
    assert full is not None
    assert system is not None
    (whole,) = (
        s.metrics["ndcg@10"].value
        for s in full.scores
        if (s.steps, s.scorer, s.part) == ("last steps", "popularity", "all")
    )
    (lived,) = (
        s.metrics["ndcg@10"].value
        for s in system.scores
        if (s.by, s.scorer) == ("all", "popularity")
    )
    return {"full": whole, "system": lived}


def test_a_hundred_that_tie_are_worth_a_hundredth_of_the_first_ten(tmp_path: Path) -> None:
    run = invent_run(tmp_path)
    for name in ("full.parquet", "requests.parquet"):
        path = run / name
        tied = pl.read_parquet(path).with_columns(
            rank_popularity=pl.lit(50.5), tied_popularity=pl.lit(100, pl.Int32)
        )
        tied.write_parquet(path)
    want = sum(1 / np.log2(1 + place) for place in range(1, 11)) / 100
    assert popularity(run) == {name: pytest.approx(want) for name in ("full", "system")}


def test_older_records_keep_the_figures_they_had(tmp_path: Path) -> None:
    run = invent_run(tmp_path)
    path = run / "full.parquet"
    frame = pl.read_parquet(path).with_columns(rank_popularity=pl.lit(5.5))
    assert not [name for name in frame.columns if name.startswith("tied")]
    frame.write_parquet(path)
    assert popularity(run)["full"] == pytest.approx(1 / np.log2(6.5))


def test_what_is_written_of_a_rank_is_what_is_read() -> None:
    ranks = {"popularity": Rank(2.5, 4), "decayed": Rank(np.inf)}
    frame = pl.DataFrame([rank_fields(ranks)])
    for name, rank in ranks.items():
        assert read_ranks(frame, f"rank_{name}")[0].item() == rank
    alone = pl.DataFrame({"rank": [2.5, None], "tied": [4, None]})
    assert ndcg(read_ranks(alone, "rank"), 10).tolist()[1] == 0.0
