"""Evidence against ranking every pair by hand, item by item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.state.cues import SHOWN, inconsistency
from experiments.studies.frontier.evidence import FORM, collect
from experiments.studies.frontier.pair_evidence import pair_evidence
from experiments.studies.frontier.study import twin_of_windows
from experiments.studies.frontier.windows import LastSteps, draw_windows
from shared.bundle import rule_at
from shared.metrics import rank_of
from shared.progress import NullProgress
from tests.support.frontier import STEPS, settings_for
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from training.calibration.inputs import make_inputs
from training.calibration.pairs import Pairs
from training.pools import WANTED
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.stages.store import StageStore
from training.twin import Twin


async def twin_for(folder: Path, *, returns: bool, profile: dict) -> tuple[Twin, LastSteps]:
    settings = settings_for(folder)
    settings = settings.model_copy(update={"profile": settings.profile.model_copy(update=profile)})
    log = drifting_log(users=8, events=34, items=60, returns=returns)
    with EmbeddingCache(folder / "embeddings.sqlite") as cache:
        embedder = HashingEmbedder(32)
        store = StageStore(folder / "stages")
        run = TrainingRun(settings, log, embedder, cache, store, NullProgress())
        trained = await run.all()
        windows = draw_windows(log, run.split, length=STEPS, users=3, history=5)
        twin = await twin_of_windows(run, trained, windows)
    return twin, windows


def by_hand(twin: Twin, fresh: int, stale: int, *, calibrated: bool) -> tuple[float, bool]:
    """The rank at one pair from the definitions, and whether a table filled up the list."""
    requests = twin.requests
    pairs = Pairs(np.array([fresh]), np.array([stale]))
    inputs = make_inputs(
        requests, pairs, twin.e_sem, twin.candidates,
        twin.calibration.calibrator.inputs, window=twin.profile.window, top_l=twin.top_l,
    )  # fmt: skip
    e_sem = inputs.stale[0]
    if calibrated:
        age = int(requests.anchors.tau[fresh] - requests.anchors.tau[stale])
        weight, correct = rule_at(twin.calibration.rules, age).at(bool(inputs.cues[0, 7] > 0))
        e_sem = weight * (twin.calibration.correct(inputs)[0][0] if correct else e_sem)
    vectors = requests.semantics
    scores = requests.structural(torch.tensor([fresh]))[0]
    scores = (scores + twin.fusion_weight * (vectors @ e_sem)).detach().numpy()
    first = requests.events.user_start[requests.anchors.user[fresh]]
    had = set(requests.events.item[first : first + requests.anchors.tau[fresh]].tolist())
    items = set(twin.candidates[stale].tolist())
    items = items - had if twin.exclude_seen else items | had
    free = [i for i in range(len(scores)) if not twin.exclude_seen or i not in had]
    short = len(items) < WANTED and not twin.profile.local_candidates
    if twin.profile.local_candidates:
        items = set(free)
    elif short:  # filled up from the table, or by what came with the models
        by = -scores if twin.profile.table != "none" else -twin.popularity
        items |= set(sorted(free, key=lambda i: by[i])[:WANTED])
    if twin.profile.table == "none":  # what came with the models stands in every list
        starters = np.argsort(-twin.popularity, kind="stable")[: twin.profile.starter_items]
        items |= set(starters.tolist()) & set(free)
    target = int(requests.target[fresh])
    filled = short and twin.profile.table != "none"
    if target not in items:
        return float("inf"), filled
    ordered = sorted(items)
    return rank_of(scores[ordered], ordered.index(target)).expected, filled


@pytest.mark.parametrize("returns", first_quick([True, False]))
@pytest.mark.parametrize("profile", first_quick([{"local_candidates": 20}, {}, {"table": "none"}]))
async def test_ranks_are_those_of_the_definitions(
    tmp_path: Path, returns: bool, profile: dict
) -> None:
    twin, _ = await twin_for(tmp_path, returns=returns, profile=profile)
    assert twin.exclude_seen == (not returns)
    rng = np.random.default_rng(0)
    fresh = np.sort(rng.integers(0, 3 * STEPS, 40))
    stale = fresh - np.minimum(rng.integers(0, STEPS, 40), fresh % STEPS)
    order = np.lexsort((stale, fresh))
    pairs = Pairs(fresh[order], stale[order])
    found = pair_evidence(twin, pairs)
    for place, (now, then) in enumerate(zip(pairs.fresh, pairs.stale, strict=True)):
        for calibrated in (False, True):
            ranks = (found.calibrated if calibrated else found.stale)["expected"]
            expected, filled = by_hand(twin, int(now), int(then), calibrated=calibrated)
            if filled and min(ranks[place], expected) > WANTED:
                continue  # the list is the device's for so many places
            # Sums in another order may part or join what is tied.
            assert ranks[place] == pytest.approx(expected, abs=0.51), (now, then)
    assert np.isfinite(found.stale["expected"]).sum() >= 5


async def test_inconsistency_is_the_devices(tmp_path: Path) -> None:
    twin, _ = await twin_for(tmp_path, returns=False, profile={})
    pairs = Pairs(np.arange(1, 3 * STEPS), np.arange(1, 3 * STEPS) // STEPS * STEPS)
    found = pair_evidence(twin, pairs)
    first_two = twin.inconsistency(pairs, top=2)
    requests, differ = twin.requests, 0
    for place, (now, then) in enumerate(
        zip(pairs.fresh.tolist(), pairs.stale.tolist(), strict=True)
    ):
        first = requests.events.user_start[requests.anchors.user[now]]
        had = requests.events.item[first : first + requests.anchors.tau[now]]
        initial = twin.candidates[then].numpy().astype(np.int32)
        items = np.sort(initial[~np.isin(initial, had)])
        scores = requests.structural(torch.tensor([now]))[0].numpy()[items]
        expected = inconsistency(initial, items, scores)
        assert found.inconsistency[place] == pytest.approx(expected, rel=1e-5, nan_ok=True)
        expected = inconsistency(initial, items, scores, top=SHOWN)
        assert found.inconsistency_top[place] == pytest.approx(expected, rel=1e-5, nan_ok=True)
        expected = inconsistency(initial, items, scores, top=2)
        assert first_two[place] == pytest.approx(expected, rel=1e-5, nan_ok=True)
        differ += expected != inconsistency(initial, items, scores)
    assert differ > len(pairs) // 4


async def test_matrices_hold_no_later_snapshot(tmp_path: Path) -> None:
    twin, windows = await twin_for(tmp_path, returns=True, profile={})
    evidence = collect(twin, windows, NullProgress())
    later = np.triu(np.ones((STEPS, STEPS), np.bool_), 1)
    assert np.isnan(evidence.stale["expected"][:, later]).all()
    assert not np.isnan(evidence.stale["expected"][:, ~later]).any()
    # Row j, column i of user u is the pair of their rows.
    one = pair_evidence(twin, Pairs(np.array([STEPS + 7]), np.array([STEPS + 2])))
    assert evidence.stale[1, 7, 2] == one.stale[0]
    assert np.array_equal(evidence.cues[1, 7, 2], one.cues[0])
    assert (evidence.cues[..., 0][:, ~later] >= 0).all()


async def test_evidence_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    twin, windows = await twin_for(tmp_path, returns=True, profile={})
    evidence = collect(twin, windows, NullProgress())
    evidence.alone["tied"][0, 0] = 7
    FORM.save(evidence, tmp_path)
    for name, kept in vars(FORM.load(tmp_path)).items():
        assert kept.dtype == getattr(evidence, name).dtype
        assert kept.tobytes() == getattr(evidence, name).tobytes(), name
