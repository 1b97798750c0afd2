"""The experiment on opponents, hardly trained: every scorer is there, every table has rows."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from experiments import spec
from experiments.aggregate import aggregate
from experiments.cells import Cell, overrides_of
from experiments.record import Record
from experiments.spec import merge
from experiments.studies.scalrec.opponents import SCORERS
from experiments.studies.scalrec.study import run_cell
from experiments.study import CellResult, checked
from reports.experiments.tables import table_text
from scalrec.options import settings_over
from shared.progress import NullProgress
from tests.support.cells import store_cell
from tests.support.logs import drifting_log

LOG = drifting_log(users=12, events=40)
GAPS = (0, 5, 10)
VARIANTS = ("base", "horizon-20", "distilled", "paper")
SMALL = {
    "training": {
        "dim": 8, "layers": 1, "test_steps": 3, "validation_steps": 2, "calibration_steps": 3,
        "abstracts_per_user": 4, "top_l": 5, "threads": 1,
    },
    "paper": {"steps": 3, "gaps": GAPS},
    "cloud": {"candidates": 12},
    "embedder": {"backend": "hashing", "model": "hashing-16"},
}  # fmt: skip

Cells = dict[str, CellResult]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """By variant; all share a folder of stages."""
    folder, experiment = tmp_path_factory.mktemp("opponents"), spec.load("opponents")
    places = {"work_dir": folder / "runs", "cache": folder / "cache"}
    found = {}
    for variant in VARIANTS:
        cell = Cell("redial", "tiny", variant, 0)
        asked = merge(overrides_of(experiment, cell, quick=True), SMALL)
        settings = settings_over(merge(asked, places))
        study = run_cell(settings, LOG, HashingEmbedder(16), progress=NullProgress())
        found[variant] = checked(asyncio.run(study))
    return found


@pytest.fixture(scope="module")
def record(cells: Cells, tmp_path_factory: pytest.TempPathFactory) -> Record:
    root, experiment = tmp_path_factory.mktemp("cells"), spec.load("opponents")
    finished = []
    for variant, result in cells.items():
        cell = Cell("drifting", "tiny", variant, 0)
        finished.append((cell, store_cell(root, cell, result.scores)))
    return aggregate(experiment, LOG, "allow", finished, draws=50)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_opponents_are_scored_wherever_the_calibrated_device_is(cells: Cells, variant: str) -> None:
    scores = cells[variant].scores.filter(pl.col("setting").is_in(["device", "S1", "S2", "full"]))
    places = [name for name in scores.columns if name not in ("scorer", "ndcg5", "hr5")]
    keys = ["user", "setting", "gap", "part", "loo", "n"]
    calibrated = scores.filter(pl.col("scorer") == "calibrated")
    assert set(calibrated["gap"]) == set(GAPS)
    for scorer in SCORERS:
        own = scores.filter(pl.col("scorer") == scorer)
        assert own.select(keys).sort(keys).equals(calibrated.select(keys).sort(keys))
        # A fresh snapshot is taken as it is by each of them.
        fresh = [
            scores.filter((pl.col("scorer") == name) & (pl.col("gap") == 0))
            for name in (scorer, "fused")
        ]
        first, second = (table.select(places).sort(keys) for table in fresh)
        assert first.equals(second)


@pytest.mark.slow
def test_an_old_snapshot_is_mended_where_semantics_count(cells: Cells) -> None:
    paper = cells["paper"]
    assert paper.extras["fusion_weight"] > 0
    here = (pl.col("part") == "all") & ~pl.col("loo") & (pl.col("setting") == "full")
    scores = paper.scores.filter(here & (pl.col("gap") == 5)).sort("user")
    stale = scores.filter(pl.col("scorer") == "stale")["ndcg10"]
    for scorer in SCORERS:
        assert not scores.filter(pl.col("scorer") == scorer)["ndcg10"].equals(stale)


@pytest.mark.slow
def test_sizes_and_choices_are_told(cells: Cells) -> None:
    base, paper = cells["base"].extras, cells["paper"].extras
    assert base["parameters_words"] > 0 == paper["parameters_words"]
    assert base["parameters_items"] > paper["parameters_items"]  # vectors of its own
    assert base["parameters_calibration"] > paper["parameters_calibration"]
    assert base["parameters_structure"] == cells["distilled"].extras["parameters_structure"]
    assert {"ridge_penalty", "drift_beta_from1", "averaged_count"} < base.keys()


@pytest.mark.slow
def test_every_table_says_something(record: Record) -> None:
    experiment = spec.load("opponents")
    for name, table in experiment.tables.items():
        if table.show == "extras":  # the stand-ins for cells on disk have none of these
            continue
        text = table_text(experiment, table, [record])
        assert "Not run yet" not in text, name
        assert "| tiny" in text, name
    part = record.differences["tiny/distilled/whole-device/device/5/all/last/ndcg10"]
    assert part.value is not None
    assert "tiny/base/whole-device/device/5/all/last/ndcg10" not in record.differences
    for setting in ("device", "S2"):
        for steps in ("last", "loo"):
            key = f"tiny/paper/over-ridge/{setting}/5/all/{steps}/ndcg10"
            assert record.differences[key].low is not None


def test_each_variant_changes_what_it_says() -> None:
    experiment = spec.load("opponents")
    chosen = {
        variant: settings_over(
            overrides_of(experiment, Cell("redial", "tiny", variant, 0))
        ).training
        for variant in experiment.variants
    }
    base = chosen.pop("base")
    gates = spec.load("gates")
    assert base == settings_over(overrides_of(gates, Cell("redial", "tiny", "base", 0))).training
    changed = {
        name: {key for key, value in training if value != getattr(base, key)}
        for name, training in chosen.items()
    }
    paper = changed.pop("paper")
    assert changed == {
        "horizon-20": {"horizon"},
        "wide": {"dim"},
        "deep": {"layers"},
        "distilled": {"distil"},
        "no-words": {"text_student"},
        "no-counts": {"own_counts"},
        "shared-vectors": {"semantic_vectors"},
    }
    assert paper > {"proposal", "gate", "severity", "age_rules", "text_student", "own_counts"}
