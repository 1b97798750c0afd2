"""RQ1 in its quick form: every method, one seed, few users; every table has rows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from experiments import spec
from experiments.aggregate import aggregate
from experiments.cells import Cell, overrides_of
from experiments.record import Record
from experiments.spec import merge
from experiments.studies.rq1.study import run_cell
from experiments.study import CellResult, checked
from reports.experiments.tables import published_text, table_text
from scalrec.options import settings_over
from shared.errors import ConfigError
from shared.progress import NullProgress
from tests.support.cells import store_cell
from tests.support.logs import drifting_log
from training.baselines.registry import BASELINES

LOG = drifting_log(users=16, events=40)
GAPS = (0, 5, 10)
SMALL = {
    "training": {
        "dim": 16, "layers": 1, "test_steps": 3, "validation_steps": 2, "calibration_steps": 3,
        "abstracts_per_user": 4, "top_l": 5, "threads": 1,
    },
    "paper": {"steps": 3, "gaps": GAPS},
    "cloud": {"candidates": 12},
    "embedder": {"backend": "hashing", "model": "hashing-16"},
}  # fmt: skip
OWN = ("calibrated", "ensemble_counts", "student", "decayed_all", "ridge")


async def cell(folder: Path, **changes: object) -> CellResult:
    experiment = spec.load("rq1-overall")
    asked = overrides_of(experiment, Cell("movielens-100k", "tiny", "base", 0), quick=True)
    places = {"work_dir": folder / "runs", "cache": folder / "cache"}
    settings = settings_over(merge(merge(merge(asked, SMALL), places), changes))
    return checked(await run_cell(settings, LOG, HashingEmbedder(16), progress=NullProgress()))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> CellResult:
    return asyncio.run(cell(tmp_path_factory.mktemp("rq1")))


@pytest.fixture(scope="module")
def record(found: CellResult, tmp_path_factory: pytest.TempPathFactory) -> Record:
    root, one = tmp_path_factory.mktemp("cells"), Cell("foursquare-nyc", "tiny", "base", 0)
    finished = [(one, store_cell(root, one, found.scores))]
    return aggregate(spec.load("rq1-overall"), LOG, "allow", finished, draws=50)


@pytest.mark.slow
def test_every_method_is_ranked_on_the_requests_of_the_product(found: CellResult) -> None:
    keys = ["user", "setting", "gap", "part", "loo", "n"]
    scores = found.scores
    assert set(scores["setting"]) == {"full", "S2"}
    calibrated = scores.filter(pl.col("scorer") == "calibrated").select(keys).sort(keys)
    assert set(calibrated["gap"]) == set(GAPS)
    assert {*OWN, *BASELINES} <= set(scores["scorer"])
    for name in (*BASELINES, *OWN):
        own = scores.filter(pl.col("scorer") == name)
        assert own.select(keys).sort(keys).equals(calibrated), name


@pytest.mark.slow
def test_only_who_reads_a_snapshot_is_changed_by_its_age(found: CellResult) -> None:
    here = (pl.col("setting") == "full") & (pl.col("part") == "all") & ~pl.col("loo")
    scores = found.scores.filter(here).sort("user")
    for name, method in BASELINES.items():
        fresh, old = (
            scores.filter((pl.col("scorer") == name) & (pl.col("gap") == gap))["ndcg10"]
            for gap in (0, 10)
        )
        if method.reads != "both":  # what is hardly trained may have nothing to cache yet
            assert fresh.equals(old) == (method.reads == "device"), name


@pytest.mark.slow
def test_a_clouds_own_list_ranks_as_all_items_do_in_the_first_places(found: CellResult) -> None:
    here = (pl.col("part") == "all") & ~pl.col("loo")
    scores = found.scores.filter(here).sort("gap", "user")
    for name in ("lightgcn", "sasrec", "surge-equipped"):
        assert BASELINES[name].reads == "cloud"
        whole, listed = (
            scores.filter((pl.col("scorer") == name) & (pl.col("setting") == setting))["ndcg10"]
            for setting in ("full", "S2")
        )
        np.testing.assert_allclose(listed.to_numpy(), whole.to_numpy(), atol=1e-12)
    # On SCaLRec's list a device's model can place fewer targets.
    lists = [
        scores.filter((pl.col("scorer") == "wide") & (pl.col("setting") == setting))["hr10"].sum()
        for setting in ("full", "S2")
    ]
    assert lists[1] != lists[0]


@pytest.mark.slow
def test_what_each_costs_is_told(found: CellResult) -> None:
    for name, method in BASELINES.items():
        assert found.extras[f"parameters_{name}"] > 0
        assert found.extras[f"seconds_{name}"] > 0
        assert (found.extras[f"device_bytes_{name}"] > 0) == (method.reads != "cloud")
    assert found.extras["parameters_ensemble"] == 2 * found.extras["parameters_structure"]


@pytest.mark.slow
def test_every_table_says_something(record: Record) -> None:
    experiment = spec.load("rq1-overall")
    for name, table in experiment.tables.items():
        # The stand-ins for cells on disk measure nothing, and hold no other variant.
        others = table.variants is not None and "base" not in table.variants
        if table.show != "costs" and name != "long-horizon" and not others:
            text = table_text(experiment, table, [record])
            assert "Not run yet" not in text, name
            assert "tiny" in text, name
    theirs = published_text(experiment, experiment.published[0], record)
    for name in BASELINES:
        key = f"tiny/base/calibrated-over-{name}/full/5/all/loo/ndcg10"
        assert record.differences[key].low is not None
    assert "| SASRec | 0.1867 | 0.2675 | 0.2273 | 0.3596 | 0." in theirs


async def test_a_method_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"baselines\.methods names 'lightgnc'.*lightgcn"):
        await cell(tmp_path, baselines={"methods": ["lightgnc"]})
