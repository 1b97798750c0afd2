"""The bound of the calibrator, on a small log whose users drift."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from experiments.studies import oracle as oracle_fit
from experiments.studies.scalrec import study
from experiments.study import checked
from scalrec.settings import load_settings
from shared.progress import NullProgress
from tests.support.logs import drifting_log

SAME = ("student", "fused", "stale", "calibrated")


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """Scores of the bound and, from the same stages, of the gates."""
    folder: Path = tmp_path_factory.mktemp("bound")
    settings = load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": 8, "local_candidates": 0},
        cloud={"candidates": 15},
        paper={"gaps": [0, 5], "steps": 3},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 3,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 2, "calibration_epochs": 6, "top_l": 8, "threads": 1,
        },
    )  # fmt: skip
    log = drifting_log(users=24, events=30)

    async def both() -> dict[str, pl.DataFrame]:
        found = {}
        for module in (oracle_fit, study):
            embedder = HashingEmbedder(32)
            cell = await module.run_cell(settings, log, embedder, progress=NullProgress())
            found[module.__name__] = checked(cell).scores
        return found

    with pytest.MonkeyPatch.context() as patch:
        # So little is learned here that fusion would be off: the best weight above 0 is taken.
        patch.setattr("training.fusion.fit.MARGIN", -1e6)
        return asyncio.run(both())


def ndcg(scores: pl.DataFrame, scorer: str, setting: str, gap: int) -> float:
    chosen = scores.filter(scorer=scorer, setting=setting, gap=gap, part="all", loo=False)
    found = chosen.select(pl.col("ndcg10").sum() / pl.col("n").sum()).item()
    return float(found)


def test_the_other_scorers_are_those_of_the_gates(cells: dict[str, pl.DataFrame]) -> None:
    bound, gates = cells["experiments.studies.oracle"], cells["experiments.studies.scalrec.study"]
    for setting in ("S1", "S2"):
        for gap in (0, 5):
            for scorer in SAME:
                assert ndcg(bound, scorer, setting, gap) == pytest.approx(
                    ndcg(gates, scorer, setting, gap), abs=1e-12
                )


def test_a_bound_stands_at_every_age_but_a_fresh_one(cells: dict[str, pl.DataFrame]) -> None:
    bound = cells["experiments.studies.oracle"].filter(pl.col("scorer").str.starts_with("fitted"))
    assert set(bound["scorer"]) == {"fitted", "fitted_others"}
    assert set(bound["gap"]) == {5}


def test_answers_seen_before_are_worth_at_least_the_stale_snapshot(
    cells: dict[str, pl.DataFrame],
) -> None:
    """The epoch is picked on these very steps, over all items; none is picked if none helps."""
    bound = cells["experiments.studies.oracle"]
    fitted, stale = (ndcg(bound, name, "S1", 5) for name in ("fitted", "stale"))
    assert fitted >= stale
