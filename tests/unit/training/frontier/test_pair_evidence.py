"""Evidence against ranking every pair by hand, item by item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.inconsistency import inconsistency
from shared.metrics import expected_rank
from shared.progress import NullProgress
from tests.support.frontier import STEPS, settings_for
from tests.support.logs import drifting_log
from training.age_rules import rule_at
from training.calibration_inputs import make_inputs
from training.embedding_cache import EmbeddingCache
from training.frontier.evidence import collect
from training.frontier.pair_evidence import Judged, pair_evidence
from training.frontier.study import judged_windows
from training.frontier.windows import Windows, draw_windows
from training.pairs import Pairs
from training.run import TrainingRun
from training.stages.store import StageStore


async def judged_for(
    folder: Path, *, returns: bool, profile: dict
) -> tuple[Judged, Windows, np.ndarray]:
    settings = settings_for(folder)
    settings = settings.model_copy(update={"profile": settings.profile.model_copy(update=profile)})
    log = drifting_log(users=8, events=34, items=60, returns=returns)
    with EmbeddingCache(folder / "embeddings.sqlite") as cache:
        embedder = HashingEmbedder(32)
        store = StageStore(folder / "stages")
        run = TrainingRun(settings, log, embedder, cache, store, NullProgress())
        trained = await run.all()
        windows = draw_windows(log, run.split, length=STEPS, users=3, history=5)
        judged = await judged_windows(run, trained, windows)
    return judged, windows, trained.popularity


def by_hand(judged: Judged, fresh: int, stale: int, *, calibrated: bool) -> float:
    """The rank at one pair from the definitions."""
    requests = judged.requests
    pairs = Pairs(np.array([fresh]), np.array([stale]))
    inputs = make_inputs(
        requests, pairs, judged.e_sem, judged.candidates,
        judged.calibration.calibrator.inputs, window=judged.profile.window, top_l=judged.top_l,
    )  # fmt: skip
    e_sem = inputs.stale[0]
    if calibrated:
        age = int(requests.anchors.tau[fresh] - requests.anchors.tau[stale])
        weight, correct = rule_at(judged.calibration.rules, age).at(bool(inputs.cues[0, 7] > 0))
        e_sem = weight * (judged.calibration.correct(inputs)[0][0] if correct else e_sem)
    vectors = requests.table.vectors.detach()
    scores = requests.structural(torch.tensor([fresh]))[0]
    scores = (scores + judged.fusion_weight * (vectors @ e_sem)).detach().numpy()
    first = requests.events.user_start[requests.anchors.user[fresh]]
    had = set(requests.events.item[first : first + requests.anchors.tau[fresh]].tolist())
    items = set(judged.candidates[stale].tolist())
    items = items - had if judged.exclude_seen else items | had
    if judged.profile.local_candidates:
        items = set(range(len(scores))) - (had if judged.exclude_seen else set())
    target = int(requests.target[fresh])
    if target not in items:
        return float("inf")
    ordered = sorted(items)
    return expected_rank(scores[ordered], ordered.index(target))


@pytest.mark.parametrize("returns", [True, False])
@pytest.mark.parametrize("profile", [{}, {"local_candidates": 20}, {"table": "none"}])
async def test_ranks_are_those_of_the_definitions(
    tmp_path: Path, returns: bool, profile: dict
) -> None:
    judged, _, _ = await judged_for(tmp_path, returns=returns, profile=profile)
    assert judged.exclude_seen == (not returns)
    rng = np.random.default_rng(0)
    fresh = np.sort(rng.integers(0, 3 * STEPS, 40))
    stale = fresh - np.minimum(rng.integers(0, STEPS, 40), fresh % STEPS)
    order = np.lexsort((stale, fresh))
    pairs = Pairs(fresh[order], stale[order])
    found = pair_evidence(judged, pairs)
    for place, (now, then) in enumerate(zip(pairs.fresh, pairs.stale, strict=True)):
        for calibrated in (False, True):
            ranks = found.calibrated if calibrated else found.stale
            expected = by_hand(judged, int(now), int(then), calibrated=calibrated)
            # Sums in another order may part or join what is tied.
            assert ranks[place] == pytest.approx(expected, abs=0.51), (now, then)
    assert np.isfinite(found.stale).sum() >= 5


async def test_inconsistency_is_the_devices(tmp_path: Path) -> None:
    judged, _, _ = await judged_for(tmp_path, returns=False, profile={})
    pairs = Pairs(np.arange(1, 3 * STEPS), np.arange(1, 3 * STEPS) // STEPS * STEPS)
    found = pair_evidence(judged, pairs)
    requests = judged.requests
    for place, (now, then) in enumerate(
        zip(pairs.fresh.tolist(), pairs.stale.tolist(), strict=True)
    ):
        first = requests.events.user_start[requests.anchors.user[now]]
        had = requests.events.item[first : first + requests.anchors.tau[now]]
        initial = judged.candidates[then].numpy().astype(np.int32)
        items = np.sort(initial[~np.isin(initial, had)])
        scores = requests.structural(torch.tensor([now]))[0].numpy()[items]
        expected = inconsistency(initial, items, scores)
        assert found.inconsistency[place] == pytest.approx(expected, rel=1e-5, nan_ok=True)


async def test_matrices_hold_no_later_snapshot(tmp_path: Path) -> None:
    judged, windows, popularity = await judged_for(tmp_path, returns=True, profile={})
    evidence = collect(judged, windows, popularity, NullProgress())
    later = np.triu(np.ones((STEPS, STEPS), np.bool_), 1)
    assert np.isnan(evidence.stale[:, later]).all()
    assert not np.isnan(evidence.stale[:, ~later]).any()
    # Row j, column i of user u is the pair of their rows.
    one = pair_evidence(judged, Pairs(np.array([STEPS + 7]), np.array([STEPS + 2])))
    assert evidence.stale[1, 7, 2] == one.stale[0]
    assert np.array_equal(evidence.cues[1, 7, 2], one.cues[0])
    assert (evidence.cues[..., 0][:, ~later] >= 0).all()
