"""The whole study on a small log: every table's scores are there and mean what they say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.ranking.list_fusion import fused
from experiments.studies.lsc4rec.device_model import cooperative_srm, independent_srm
from experiments.studies.lsc4rec.lists import candidate_lists
from experiments.study import CellResult, checked, find_study
from scalrec.settings import Settings, load_settings
from shared.metrics import ndcg
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from training.collaboration.adaptive import adaptive_scores, states_of
from training.collaboration.ranks import list_ranks
from training.collaboration.srm import EncoderSrm, list_scores
from training.run import opened_run

STUDY = "experiments.studies.lsc4rec.study:run_cell"


def settings_for(
    folder: Path, srm: str = "backbone", *, second: bool = False, **training: Any
) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": 6, "local_candidates": 0},
        training={
            "dim": 8, "epochs": 1, "restart_epochs": 0, "test_steps": 1, "validation_steps": 1,
            "calibration_steps": 1, "threads": 1, "return_mechanism": False,
        } | training,
        generative={"epochs": 1, "codes": 4},
        lsc4rec={
            "srm": srm, "lists": (3, 6),
            "adaptive_rates": (0.1,), "second_srm": second,
        },
        paper={"steps": 1},
    )  # fmt: skip


def cell(
    folder: Path, *, returns: bool, srm: str = "backbone", second: bool = False, **training: Any
) -> CellResult:
    log = drifting_log(users=16, events=9, returns=returns, has_time=False)
    study = find_study(STUDY)
    settings = settings_for(folder, srm, second=second, **training)
    result = study(settings, log, HashingEmbedder(32), progress=NullProgress())
    return checked(asyncio.run(result))


def total(result: CellResult, setting: str, gap: int, scorer: str) -> pl.DataFrame:
    return result.scores.filter(
        (pl.col("setting") == setting) & (pl.col("gap") == gap) & (pl.col("scorer") == scorer)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lsc4rec")


@pytest.fixture(scope="module")
def result(folder: Path) -> CellResult:
    return cell(folder, returns=False, backbone="gru4rec")


def test_every_scorer_stands_at_every_place(result: CellResult) -> None:
    ways = ("independent", "cooperative", "adaptive", "both")
    scorers = {"llm", "popularity", "lsc4rec", "raw", "learned"}
    scorers |= {f"{what}-{way}" for what in ("rerank", "lsc4rec") for way in ways}
    for setting in ("list3", "list6"):
        for gap in (0, 2):
            here = result.scores.filter((pl.col("setting") == setting) & (pl.col("gap") == gap))
            assert set(here["scorer"]) == scorers
            assert (here["n"] == 1).all()
            assert here.height == 16 * len(scorers)
    assert total(result, "full", 2, "srm").height == 16
    assert total(result, "full", 0, "popularity").height == 16


def test_no_scorer_finds_what_its_list_does_not_hold(result: CellResult) -> None:
    for n in (3, 6):
        for gap in (0, 2):
            recall = result.extras[f"recall_list{n}_gap{gap}"]
            here = result.scores.filter((pl.col("setting") == f"list{n}") & (pl.col("gap") == gap))
            # Lists are shorter than ten: whoever is in them is a hit, for every scorer.
            hits = here.group_by("scorer").agg(pl.col("hr10").mean())["hr10"]
            np.testing.assert_allclose(hits.to_numpy(), recall)
    assert result.extras["recall_list6_gap2"] >= result.extras["recall_list3_gap2"]


def test_requests_that_ask_lie_between_never_and_always(result: CellResult) -> None:
    stale = total(result, "list6", 2, "lsc4rec").sort("user")["ndcg10"].to_numpy()
    fresh = total(result, "list6", 0, "lsc4rec").sort("user")["ndcg10"].to_numpy()
    for budget in (20, 40):
        asks = total(result, f"budget-{budget}", 2, "inconsistency").sort("user")["ndcg10"]
        assert np.isin(asks.to_numpy() == stale, [True]).sum() + (asks == fresh).sum() >= 16
        share = result.extras[f"share_inconsistency_{budget}"]
        chance = total(result, f"budget-{budget}", 2, "random").sort("user")["ndcg10"].to_numpy()
        np.testing.assert_allclose(chance, (1 - share) * stale + share * fresh)
        best = total(result, f"budget-{budget}", 2, "oracle")["ndcg10"].mean()
        assert best >= stale.mean() - 1e-12


def test_costs_and_choices_are_named(result: CellResult) -> None:
    for name in (
        "srm_parameters", "llm_parameters", "srm_seconds_per_epoch", "llm_seconds_per_epoch",
        "srm_inference_s", "llm_inference_s", "adaptation_s", "rate_independent",
        "alpha_both_list6_gap2", "alpha_raw_list3_gap0", "threshold_inconsistency_20",
    ):  # fmt: skip
        assert np.isfinite(result.extras[name])
    assert sum(v for k, v in result.extras.items() if k.startswith("chosen_")) == 1.0


@pytest.mark.slow
def test_a_second_run_reuses_the_stages_and_finds_the_same(
    result: CellResult, folder: Path
) -> None:
    stages = sorted((folder / "runs" / "stages").glob("*-*"))
    again = cell(folder, returns=False, backbone="gru4rec")
    assert sorted((folder / "runs" / "stages").glob("*-*")) == stages
    assert again.scores.equals(result.scores)


@pytest.mark.slow
def test_cooperative_training_leaves_the_independent_model_alone_and_lists_are_shared(
    folder: Path, result: CellResult
) -> None:
    async def parts(seed: int) -> tuple[Any, Any, Any, str]:
        settings = settings_for(folder, backbone="gru4rec").model_copy(update={"seed": seed})
        log = drifting_log(users=16, events=9, returns=False, has_time=False)
        async with opened_run(settings, log, HashingEmbedder(32), NullProgress()) as run:
            device = await independent_srm(run)
            before = {k: v.clone() for k, v in device.srm.model.state_dict().items()}
            generator, listed, key = await candidate_lists(run)
            coop = await cooperative_srm(run, device, generator, listed, key)
        for name, value in device.srm.model.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
        return device, coop, listed, key

    device, coop, listed, key = asyncio.run(parts(0))
    _, _, other, other_key = asyncio.run(parts(1))
    assert key == other_key  # the cloud's seed is a setting of its own
    np.testing.assert_array_equal(listed.of_test[2].items, other.of_test[2].items)
    items = listed.of_test[2].items
    plain = list_scores(device.srm, listed.test, items)
    assert not np.allclose(plain, list_scores(coop.srm, listed.test, items))
    assert isinstance(device.srm, EncoderSrm)
    states = states_of(device.srm, listed.test, 5)
    np.testing.assert_array_equal(np.diff(states.first), 5)
    last = listed.test.events.item[listed.test.row - 1]
    np.testing.assert_array_equal(states.followed[states.first[:-1]], last)
    still = adaptive_scores(states, listed.of_test[2], plain, rate=0.1, steps=0)
    np.testing.assert_allclose(still, plain, atol=1e-6)
    moved = adaptive_scores(states, listed.of_test[2], plain, rate=0.5, steps=3)
    assert not np.allclose(moved, plain, atol=1e-4)


@pytest.mark.slow
def test_a_second_srm_stands_in_the_clouds_place(folder: Path, result: CellResult) -> None:
    found = cell(folder, returns=False, second=True, backbone="gru4rec")
    before = found.scores.filter(~pl.col("scorer").str.starts_with("second"))
    assert before.equals(result.scores)  # nothing else moves
    assert total(found, "list6", 0, "second-late").height == 0  # it would be the same

    async def parts() -> tuple[Any, Any, Any]:
        settings = settings_for(folder, backbone="gru4rec")
        log = drifting_log(users=16, events=9, returns=False, has_time=False)
        async with opened_run(settings, log, HashingEmbedder(32), NullProgress()) as run:
            first, second = await independent_srm(run), await independent_srm(run.with_seed(1))
            _, listed, _ = await candidate_lists(run)
        return first.srm, second.srm, listed

    first, second, listed = asyncio.run(parts())
    items = listed.of_test[2].items
    for name, gap in (("second", 0), ("second-late", 2)):
        alpha = found.extras[f"alpha_{name}_list6_gap2"]
        other = list_scores(second, listed.test, items, gap=gap)
        scores = fused(other, list_scores(first, listed.test, items), alpha)
        allowed = listed.test.allowed(items, exclude_seen=True)
        ranks = list_ranks(scores, items, listed.test.target, allowed)
        here = total(found, "list6", 2, name).sort("user")["ndcg10"].to_numpy()
        np.testing.assert_allclose(here, ndcg(ranks, 10))
    late, now = (list_scores(second, listed.test, items, gap=gap) for gap in (2, 0))
    assert not np.allclose(late, now)


@pytest.mark.slow
def test_din_re_ranks_but_is_not_adapted(folder: Path) -> None:
    found = cell(folder, returns=False, srm="din")
    scorers = set(found.scores["scorer"])
    assert {"rerank-cooperative", "lsc4rec-cooperative", "srm"} <= scorers
    assert not any("adaptive" in name or "both" in name for name in scorers)
    full = total(found, "full", 2, "srm")
    assert full.height == 16
    again = cell(folder, returns=False, srm="din")
    assert again.scores.equals(found.scores)


@pytest.mark.slow
def test_where_users_return_the_decayed_counter_stands_beside_it(folder: Path) -> None:
    found = cell(folder, returns=True, backbone="sasrec", return_mechanism=True)
    assert total(found, "full", 0, "decayed").height == 16
    assert total(found, "list6", 2, "decayed").height == 16


def test_lists_are_as_late_as_the_setting_says(folder: Path) -> None:
    async def parts() -> Any:
        settings = settings_for(folder, backbone="gru4rec")
        late = settings.lsc4rec.model_copy(update={"lateness": 4})
        log = drifting_log(users=16, events=9, returns=False, has_time=False)
        changed = settings.model_copy(update={"lsc4rec": late})
        async with opened_run(changed, log, HashingEmbedder(32), NullProgress()) as run:
            return await candidate_lists(run)

    generator, listed, _ = asyncio.run(parts())
    assert set(listed.of_test) == set(listed.of_validation) == {0, 4}
    assert {len(known) for known in listed.test.known_at(4)} == {4}  # of eight events
    written = ((listed.test, listed.of_test[4]), (listed.calibration, listed.of_calibration))
    for asked, lists in written:
        items, _ = generator.candidate_lists(asked.known_at(4), 6, exclude_seen=True)
        np.testing.assert_array_equal(items, lists.items)
