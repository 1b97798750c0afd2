"""Every preset exports, and a device with packed vectors ranks nearly as float32 does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.full_ranking import run_full_ranking
from loadtest.evaluation.log_requests import LogRequests
from scalrec.settings import Settings, load_settings
from shared.bundle import Bundle, load_bundle
from shared.interactions import InteractionLog
from shared.metrics import as_ranks, ndcg
from shared.profile import PRESETS
from shared.split import split_log
from tests.support.devices import with_profile
from tests.support.logs import drifting_log
from tests.support.staleness import SeededSource
from tests.support.tiers import first_quick
from training.export.export import export_bundle
from training.export.parity import BATCH_SIZES
from training.train import train

SMALL = {
    "dim": 16, "epochs": 2, "restart_epochs": 0, "test_steps": 3, "abstracts_per_user": 6,
    "semantic_epochs": 2, "calibration_epochs": 1, "top_l": 5, "threads": 1,
}  # fmt: skip


def settings_of(folder: Path, name: str) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile=name,
        cloud={"candidates": 10},
        training=SMALL,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profiles")


@pytest.fixture(scope="module")
def log() -> InteractionLog:
    return drifting_log(users=20, events=40, items=60)


@pytest.fixture(scope="module")
def exported(folder: Path, log: InteractionLog) -> Callable[[str], Bundle]:
    """The bundle of a preset, trained and exported once."""

    @cache
    def export(name: str) -> Bundle:
        settings = settings_of(folder, name)
        trained = asyncio.run(train(settings, log, HashingEmbedder(32)))
        return export_bundle(trained, folder / name, settings, created="2024", version="1")

    return export


@pytest.mark.parametrize("name", first_quick(PRESETS))
def test_graphs_equal_torch_at_every_length_of_the_window(
    exported: Callable[[str], Bundle], name: str
) -> None:
    bundle, profile = load_bundle(exported(name).path), PRESETS[name]
    figures = bundle.manifest.training
    assert bundle.manifest.profile == profile
    assert figures["parity_lengths"] == profile.window
    assert figures["parity_cases"] == profile.window * len(BATCH_SIZES)
    assert float(figures["parity_max_score_difference"]) <= 1e-5
    assert ("packed_top10_overlap" in figures) == (profile.table != "float32")
    assert float(figures.get("packed_top10_overlap", 1.0)) > 0.9


def test_packed_vectors_cost_next_to_nothing(
    folder: Path, log: InteractionLog, exported: Callable[[str], Bundle]
) -> None:
    """The same networks in bundles of three kinds of table, ranking the whole catalogue."""
    found, tops = {}, {}
    for table in ("float32", "int8", "none"):
        bundle = with_profile(exported("tiny"), folder / table, table=table)
        models = EvaluationModels.load(bundle)
        run = folder / f"full-{table}"
        run.mkdir()
        source = SeededSource(models, 10)
        run_full_ranking(
            run, log, split_log(log, test_steps=3).test(), models, source, half_life=9.0
        )
        found[table] = pl.read_parquet(run / "full.parquet")["rank_fused"].to_numpy()
        tops[table] = _top10(models, log)
    assert np.array_equal(found["int8"], found["none"]), "packed is packed, wherever it lies"
    exact, packed = (
        float(ndcg(as_ranks(found[table]), 10).mean()) for table in ("float32", "int8")
    )
    assert abs(exact - packed) < 0.01
    overlap = [
        len(set(one) & set(other)) / 10
        for one, other in zip(tops["float32"], tops["int8"], strict=True)
    ]
    assert np.mean(overlap) > 0.95
    moved = np.mean(found["float32"] != found["int8"])
    assert 0 < moved < 0.5, "int8 is not float32, but most targets keep their rank"


def _top10(models: EvaluationModels, log: InteractionLog) -> list[list[int]]:
    """Structural top 10 of each user's last request."""
    requests, tops = LogRequests(log, models), []
    for user, step in enumerate(log.counts() - 1):
        [(_, now)] = requests.encode(user, [int(step)])
        assert now is not None
        scores = models.table.products(now.e_str) + models.table.bias
        tops.append(np.argsort(-scores, kind="stable")[:10].tolist())
    return tops
