from pathlib import Path

import numpy as np
import polars as pl
import pytest

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.snapshot_cache import MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.state.cached_snapshot import CachedSnapshot, CacheKey
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.log_requests import LogRequests, by_user
from loadtest.evaluation.paper import run_paper
from loadtest.evaluation.snapshot_source import snapshot_step, snapshots_needed
from loadtest.evaluation.target_rank import target_rank
from loadtest.records.evidence_records import PaperRecord, write_records
from loadtest.records.rank_columns import tied_column
from shared.errors import ConfigError
from shared.metrics import rank_of
from shared.snapshot import Snapshot
from shared.split import MIN_HISTORY, Steps, split_log
from tests.support.bundles import make_bundle
from tests.support.staleness import SeededSource, make_log

GAPS = (0, 5, 40)
RANKS = ["rank_calibrated", "rank_uncalibrated", "rank_structure", "rank_semantic"]


@pytest.fixture(scope="module", params=["allow", "exclude"])
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationModels:
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    return EvaluationModels.load(make_bundle(path, repeat_policy=request.param))


@pytest.fixture(scope="module")
def steps() -> Steps:
    return split_log(make_log(), test_steps=3).test()


@pytest.fixture(scope="module")
def records(
    models: EvaluationModels, steps: Steps, tmp_path_factory: pytest.TempPathFactory
) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("run")
    source = SeededSource(models)
    path = run_paper(folder, make_log(), steps, models, source, gaps=GAPS)
    assert sorted(source.asked) == snapshots_needed(steps, GAPS)
    return pl.read_parquet(path)


def test_every_step_is_scored_at_every_gap_in_both_settings(
    records: pl.DataFrame, steps: Steps
) -> None:
    assert records.columns == list(PaperRecord._fields)
    assert records.height == len(steps) * len(GAPS) * 2
    assert not records.select("user", "step", "setting", "gap").is_duplicated().any()
    assert records.filter("last")["step"].unique().to_list() == [29]


def test_settings_agree_at_gap_zero(records: pl.DataFrame) -> None:
    fresh = records.filter(pl.col("gap") == 0).sort("user", "step")
    s1, s2 = (fresh.filter(pl.col("setting") == s).drop("setting") for s in ("S1", "S2"))
    assert s1.equals(s2)
    assert (s1["drift"] == 0).all()


def test_settings_differ_by_their_candidates_alone(
    records: pl.DataFrame, models: EvaluationModels
) -> None:
    source, log = SeededSource(models), make_log()
    exclude = models.manifest.repeat_policy == "exclude"
    ranked = 0
    for row in records.filter(pl.col("gap") == 5).to_dicts():
        user, step = row["user"], row["step"]
        stale = source.e_sem(user, step - 5)
        retrieved_with = source.e_sem(user, step) if row["setting"] == "S1" else stale
        items = source.candidates(retrieved_with)[0]
        if exclude:
            items = items[~np.isin(items, LogRequests(log, models).history(user, step))]
        assert row["n_candidates"] == len(items)
        expected = np.inf
        if row["target"] in items:
            ranked += 1
            at = items.tolist().index(row["target"])
            expected = rank_of(models.table.of(items)[0] @ stale, at).expected
        assert row["rank_semantic"] == expected
        assert np.isinf([row[name] for name in RANKS]).all() == np.isinf(expected)
    assert ranked > 0


async def test_ranks_are_those_of_a_device_that_holds_the_snapshot(tmp_path: Path) -> None:
    # With repeats excluded a device, too, ranks the candidates alone.
    models = EvaluationModels.load(make_bundle(tmp_path / "bundle", repeat_policy="exclude"))
    log, source = make_log(), SeededSource(models)
    steps = split_log(log, test_steps=10).test()
    path = run_paper(tmp_path, log, steps, models, source, gaps=(5,))
    requests = LogRequests(log, models)
    ranked = 0
    for row in pl.read_parquet(path).filter(setting="S2").to_dicts():
        user, step, tau = row["user"], row["step"], row["step"] - 5
        e_sem = source.e_sem(user, tau)
        items, scores = source.candidates(e_sem)
        snapshot = Snapshot(
            user="u",
            tau=tau,
            created_ms=1,
            bundle_id=models.bundle_id,
            e_sem=e_sem,
            items=items,
            scores=scores,
        )
        [(_, then)] = requests.encode(user, [tau])
        assert then is not None
        cache = MemorySnapshotCache()
        key = CacheKey(user="u", bundle_id=models.bundle_id, dim=models.dim, n_items=models.n_items)
        await cache.store(key, CachedSnapshot(snapshot, then.e_str))
        device = Device("u", models, TemplateAbstract(log.catalogue), cache=cache)
        for place in range(step):
            event = requests.context(user, place)
            device.observe(requests.target(user, place), event.time, event.hour_of_week)
        response = device.request(requests.context(user, step), k=1)
        found = response.diagnostics
        assert (found.delta, found.omega, found.drift, found.r, found.alpha, found.de_norm) == (
            row["delta"], row["omega"], row["drift"], row["r"], row["alpha"], row["de_norm"],
        )  # fmt: skip
        for column, scores in (
            ("rank_calibrated", response.scores),
            ("rank_uncalibrated", response.uncalibrated),
            ("rank_structure", response.structural),
        ):
            rank = target_rank(response.candidates, scores, row["target"])
            assert (row[column], row[tied_column(column)]) == rank
        ranked += np.isfinite(row["rank_calibrated"])
    assert ranked > 0


def test_short_histories_are_not_older_than_they_can_be(records: pl.DataFrame) -> None:
    aged = records.filter(pl.col("gap") == 40)
    assert (aged["delta"] == aged["step"] - MIN_HISTORY).all()
    assert (records.filter(pl.col("gap") == 5)["delta"] == 5).all()


def test_snapshot_step_never_precedes_the_minimum() -> None:
    assert [snapshot_step(step, 5) for step in (1, 2, 6, 7, 20)] == [1, 2, 2, 2, 15]


def test_by_user_keeps_each_users_steps_together() -> None:
    steps = Steps(np.array([0, 0, 0, 3, 3, 5], np.int32), np.array([4, 5, 6, 8, 9, 2], np.int32))
    assert list(by_user(steps)) == [(0, [4, 5, 6]), (3, [8, 9]), (5, [2])]


def test_target_rank_of_a_missing_item_is_infinite() -> None:
    items, scores = np.array([2, 5, 9], np.int32), np.array([1.0, 3.0, 1.0], np.float32)
    assert [target_rank(items, scores, i) for i in (2, 5, 9, 7, 10)] == [
        (2.5, 2), (1, 1), (2.5, 2), (np.inf, 1), (np.inf, 1),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write records to .*paper\.parquet"):
        write_records(tmp_path / "file" / "paper.parquet", [], PaperRecord)
