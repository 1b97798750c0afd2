"""Every device profile through the real cloud app, on both clocks, and in all evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.cached_snapshot import CachedSnapshot
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.full_ranking import run_full_ranking
from loadtest.evaluation.log_requests import LogRequests
from loadtest.evaluation.paper import run_paper
from loadtest.evaluation.target_rank import target_rank
from loadtest.records.rank_columns import tied_column
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.profile_figures import cache_holding
from shared.bundle import Bundle
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import PRESETS
from shared.snapshot import Snapshot, most_candidates
from shared.split import split_log
from tests.support.bundles import CALIBRATOR_INPUTS, make_bundle
from tests.support.histories import check_history
from tests.support.replays import records, replay_settings, replay_tiny
from tests.support.staleness import SeededSource, make_log

pytestmark = pytest.mark.parametrize("name", PRESETS)
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "own": {
        "semantic_vectors": "own",
        "own_counts": OwnCounts(weight=0.8, scale=4.0, half_life=5.0),
        "text_student": TextStudentSpec(rows=256, weight=0.6),
        "calibrator_inputs": (*CALIBRATOR_INPUTS, "e_text"),
    },
}


@pytest.fixture
def bundle(tmp_path: Path, name: str, variant: str) -> Bundle:
    profile, added = PRESETS[name], VARIANTS[variant]
    return make_bundle(tmp_path / "bundle", n_items=300, profile=profile, **added)


@pytest.mark.parametrize(
    ("clock", "variant"), [("virtual", "paper"), ("wall", "paper"), ("virtual", "own")]
)
def test_a_fleet_answers_everything_from_snapshots_and_without(
    tmp_path: Path, bundle: Bundle, name: str, clock: str
) -> None:
    log = make_log(users=12, events=40, n_items=300)
    settings = replay_settings(
        bundle,
        clock=clock,
        duration_s=3.0 if clock == "wall" else 60.0,
        availability={"kind": "periodic", "period_s": 1.5 if clock == "wall" else 20.0,
                      "outage_s": 0.5 if clock == "wall" else 8.0},
        device={"k": 2, "link": {"breaker_open_s": 0.2}},
    )  # fmt: skip
    result = replay_tiny(tmp_path / "run", bundle, settings, log=log)
    requests, refreshes = records(tmp_path / "run")
    assert result.requests == len(requests) == 120
    fresh = refreshes.filter(pl.col("outcome") == "fresh")
    assert len(fresh) > 12
    assert result.from_snapshot > 100
    # Ten candidates: with their vectors (8 dimensions and a scale each, one bias) 14 bytes more
    # each, or 26.
    sizes = fresh["response_bytes"]
    if name == "tiny":
        assert sizes.min() >= 10 * (8 + 12 * bundle.manifest.vectors_in_snapshot + 2) + 8 * 4
    else:
        assert sizes.max() < 10 * (8 + 14)
    check_history(requests, refreshes, gamma_max=bundle.manifest.calibration.gamma_max)
    ranked = requests.filter(pl.col("rank").is_finite())
    assert len(ranked) > 0, "no target was ever among the candidates"
    shortlisted = {"tiny": 0, "small": 0, "full": 100}[name]
    assert requests["n_candidates"].min() >= max(10, shortlisted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_paper_mode_ranks_as_a_device_does_that_only_knows_pages_and_snapshots(
    tmp_path: Path, bundle: Bundle, name: str
) -> None:
    """What a device without a table scores, evaluation scores to the last bit."""
    models, log = EvaluationModels.load(bundle), make_log(n_items=300)
    source, steps = SeededSource(models), split_log(log, test_steps=3).test()
    rows = pl.read_parquet(run_paper(tmp_path, log, steps, models, source, gaps=(5,)))
    requests, pages = LogRequests(log, models), ItemPages(bundle)
    limits = {"unite_history": False, "local_candidates": 0}
    checked = 0
    for row in rows.filter(setting="S2", gap=5).to_dicts():
        user, step, tau = row["user"], row["step"], row["step"] - 5
        e_sem = source.e_sem(user, tau)
        items, scores = source.candidates(e_sem)
        packed = pages.packed.take(items) if name == "tiny" else None
        snapshot = Snapshot(
            user="u",
            tau=tau,
            created_ms=1,
            bundle_id=bundle.id,
            e_sem=e_sem,
            items=items,
            scores=scores,
            vectors=packed,
        )
        shipped = DeviceModels.load(bundle)
        shipped.profile = shipped.profile.model_copy(update=limits)
        [(_, then)] = requests.encode(user, [tau])
        assert then is not None
        cached = CachedSnapshot(snapshot, then.e_str)
        writer = TemplateAbstract(log.catalogue)
        cache = cache_holding(shipped, cached)
        device = Device("u", shipped, writer, cache=cache, digest=writer.digest())
        for place in range(step):
            item, event = requests.target(user, place), requests.context(user, place)
            device.observe(item, event.time, event.hour_of_week, pages.page(item))
        response = device.request(requests.context(user, step), k=1)
        found = response.diagnostics
        assert (found.omega, found.drift, found.r) == (row["omega"], row["drift"], row["r"])
        for column, values in (
            ("rank_calibrated", response.scores),
            ("rank_structure", response.structural),
        ):
            rank = target_rank(response.candidates, values, row["target"])
            assert (row[column], row[tied_column(column)]) == rank
        checked += 1
    assert checked == len(steps)


@pytest.mark.parametrize("variant", VARIANTS)
def test_full_ranking_needs_no_table_on_the_device(tmp_path: Path, bundle: Bundle) -> None:
    models, log = EvaluationModels.load(bundle), make_log(n_items=300)
    steps = split_log(log, test_steps=2).test()
    path = run_full_ranking(tmp_path, log, steps, models, SeededSource(models), half_life=5.0)
    ranks = pl.read_parquet(path)["rank_fused"].to_numpy()
    assert np.isfinite(ranks).all()
    assert len(ranks) == len(steps)


@pytest.mark.parametrize("variant", VARIANTS)
def test_room_in_a_snapshot_depends_on_what_it_carries(bundle: Bundle, name: str) -> None:
    room = most_candidates(64, vectors=bundle.manifest.vectors_in_snapshot)
    assert (room < 20_000) == (name == "tiny")
