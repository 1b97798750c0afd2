"""The experiment on levers: each variant pulls one, and a cell with several scores everything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cloud_service.embedding.factory import create_embedder
from experiments import spec
from experiments.cells import Cell, overrides_of
from experiments.spec import merge
from experiments.studies.scalrec.opponents import SCORERS
from experiments.studies.scalrec.study import run_cell
from experiments.study import checked
from scalrec.options import settings_over
from shared.progress import NullProgress
from tests.support.logs import drifting_log

LOG = drifting_log(users=12, events=40)
GAPS = (0, 5)
SMALL = {
    "training": {
        "dim": 8, "layers": 1, "test_steps": 3, "validation_steps": 2, "calibration_steps": 3,
        "abstracts_per_user": 4, "top_l": 5, "threads": 1,
    },
    "paper": {"steps": 3, "gaps": GAPS},
    "cloud": {"candidates": 12},
    "embedder": {"backend": "hashing", "model": "hashing-16", "query_apart": True},
}  # fmt: skip
SEVERAL = {"training": {"calibration_block": "users", "words_cue": True, "rare_items": "text"}}


def test_each_variant_pulls_one_lever() -> None:
    experiment = spec.load("levers")

    def told(variant: str) -> dict[str, Any]:
        cell = Cell("foursquare-nyc", "tiny", variant, 0)
        settings = settings_over(overrides_of(experiment, cell))
        parts = {"training": settings.training, "embedder": settings.embedder}
        return {f"{part}.{n}": value for part, held in parts.items() for n, value in held}

    base = told("base")
    changed = {
        variant: {name for name, value in told(variant).items() if value != base[name]}
        for variant in experiment.variants
    }
    assert changed.pop("base") == set()
    assert changed == {
        "words-cue": {"training.words_cue"},
        "block-16": {"training.calibration_steps"},
        "users": {"training.calibration_block"},
        "all-steps": {"training.abstracts_per_user"},
        "horizon-20": {"training.horizon"},
        "query-apart": {"embedder.query_apart"},
        "rare-items": {"training.rare_items"},
        "lora": {"embedder.lora"},
    }


@pytest.mark.slow
def test_a_cell_with_folds_scores_every_opponent(tmp_path: Path) -> None:
    cell = Cell("redial", "tiny", "base", 0)
    asked = merge(overrides_of(spec.load("levers"), cell, quick=True), SMALL)
    places = {"work_dir": tmp_path / "runs", "cache": tmp_path / "cache"}
    settings = settings_over(merge(merge(asked, SEVERAL), places))
    embedder = create_embedder(settings.embedder, model_dir=None)
    assert embedder.identity.dim == 32
    study = run_cell(settings, LOG, embedder, progress=NullProgress())
    result = checked(asyncio.run(study))
    for setting in ("device", "S1", "full"):
        here = result.scores.filter((pl.col("setting") == setting) & (pl.col("gap") == 5))
        assert {"structure", "calibrated", "corrected", *SCORERS} <= set(here["scorer"])
        sizes = here.filter(pl.col("part") == "all").group_by("scorer").agg(pl.col("n").sum())
        assert sizes["n"].n_unique() == 1
    kinds = {name.partition("_")[0] for name in result.extras}
    assert {"corr", "logp"} <= kinds
    assert result.extras["seconds_fold0-backbone"] > 0
    for name in ("drift", "omega", "unreliability"):
        assert -1 <= result.extras[f"logp_{name}_gap5"] <= 1
