from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.full_ranking import run_full_ranking
from loadtest.evaluation.log_requests import LogRequests
from loadtest.records.evidence_records import FullRecord
from shared.own_score import OwnCounts, TextStudentSpec
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.staleness import SeededSource, make_log

HALF_LIFE = 5.0


OWN: dict[str, Any] = {
    "semantic_vectors": "own",
    "own_counts": OwnCounts(weight=0.8, scale=4.0, half_life=5.0),
    "text_student": TextStudentSpec(rows=256, weight=0.6),
}


@pytest.mark.parametrize("own", [{}, OWN], ids=["paper", "own"])
@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_every_rank_equals_a_sort_of_the_whole_catalogue(
    tmp_path: Path, policy: Literal["allow", "exclude"], own: dict[str, Any]
) -> None:
    bundle = make_bundle(tmp_path / "bundle", repeat_policy=policy, **own)
    models = EvaluationModels.load(bundle)
    log, source = make_log(), SeededSource(models)
    steps = split_log(log, test_steps=4).test()
    path = run_full_ranking(tmp_path, log, steps, models, source, half_life=HALF_LIFE)
    records = pl.read_parquet(path)
    assert records.columns == list(FullRecord._fields)
    assert records.height == len(steps)
    assert records.group_by("user").agg(pl.col("last").sum())["last"].to_list() == [1] * 4
    requests = LogRequests(log, models)
    for row in records.to_dicts():
        user, step, target = row["user"], row["step"], row["target"]
        history = requests.history(user, step)
        assert target == requests.target(user, step)
        assert row["is_return"] == (target in history.tolist())
        [(_, now)] = requests.encode(user, [step])
        assert now is not None
        bonus = np.zeros(models.n_items)
        np.add.at(bonus, now.history, np.exp(now.copy_logit.astype(np.float64)))
        structure = models.table.products(now.e_str) + models.table.bias + np.log1p(bonus)
        semantic = models.table.products(semantic=source.e_sem(user, step))
        counted, student = structure, structure
        if own:
            assert now.own is not None
            assert now.own.e_text is not None
            ages = np.arange(step)[::-1] / own["own_counts"].half_life
            kept = np.zeros(models.n_items)
            np.add.at(kept, history, 0.5**ages)
            counted = structure + 0.8 * np.log1p(4.0 * kept)
            student = counted + 0.6 * (bundle.semantic_vectors() @ now.own.e_text)
        counts = np.bincount(history, minlength=models.n_items).astype(float)
        decayed = np.zeros(models.n_items)
        np.add.at(decayed, history, 0.5 ** (np.arange(step)[::-1] / HALF_LIFE))
        scores = {
            "structure": structure,
            "semantic": semantic,
            "counts": counted,
            "student": student,
            "fused": student + models.manifest.fusion_weight * semantic,
            "popularity": models.item_popularity,
            "frequency": counts,
            "decayed": decayed,
        }
        for name, values in scores.items():
            mine = values.astype(np.float64).copy()
            if policy == "exclude":
                mine[history] = -np.inf
            others = np.delete(mine, target)
            rank = 1 + (others > mine[target]).sum() + (others == mine[target]).sum() / 2
            expected = rank if np.isfinite(mine[target]) else np.inf
            assert row[f"rank_{name}"] == expected, name
