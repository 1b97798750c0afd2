from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from device_runtime.state.cues import CUES
from shared.errors import DataError
from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.calibration.pairs import (
    draw_one_per_request,
    pair_cues,
    pairs_at_gap,
    top_candidates,
    training_pairs,
    united,
)
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import merge, stale_anchors, training_anchors
from training.semantic.requests import Requests, make_requests

WINDOW, DIM = 8, 16
LOG = drifting_log(users=10, events=40)
SPLIT = split_log(LOG, test_steps=3)
TRAINED_ON = training_anchors(SPLIT, 12)
ANCHORS = merge(TRAINED_ON, stale_anchors(SPLIT.validation(), (0, 5, 10, 20)))
EVENTS = events_of(LOG).keep_first(SPLIT.test_start)


@pytest.fixture(scope="module")
def requests() -> Requests:
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=WINDOW)).eval()
    table = ItemParameters(len(LOG.catalogue), DIM)
    torch.nn.init.normal_(table.bias)
    return make_requests(model, table, EVENTS, ANCHORS)


def training_rows() -> np.ndarray:
    return ANCHORS.find(TRAINED_ON.user, TRAINED_ON.tau)


def test_pairs_stay_within_a_user_and_the_training_region() -> None:
    pairs = training_pairs(ANCHORS, training_rows())
    assert (ANCHORS.user[pairs.fresh] == ANCHORS.user[pairs.stale]).all()
    gap = ANCHORS.tau[pairs.fresh] - ANCHORS.tau[pairs.stale]
    assert set(gap) == set(range(21))
    # The target of the fresh end is a training event, so is everything its abstract has seen.
    assert (ANCHORS.tau[pairs.fresh] < SPLIT.validation_start[ANCHORS.user[pairs.fresh]]).all()
    expected = sum(
        0 <= a - b <= 20
        for user in range(LOG.n_users)
        for a in TRAINED_ON.tau[TRAINED_ON.user == user]
        for b in TRAINED_ON.tau[TRAINED_ON.user == user]
    )
    assert len(pairs) == expected
    assert len({(f, s) for f, s in zip(pairs.fresh, pairs.stale, strict=True)}) == expected


def test_an_epoch_draws_every_request_once_and_all_gaps_in_time() -> None:
    pairs = training_pairs(ANCHORS, training_rows())
    rng = np.random.default_rng(0)
    drawn: set[int] = set()
    for _ in range(40):
        index = draw_one_per_request(pairs, rng)
        assert sorted(pairs[index].fresh) == sorted(training_rows())
        drawn |= set(index.tolist())
    assert len(drawn) > 0.95 * len(pairs)


def test_validation_pairs_sit_at_their_gap() -> None:
    steps = SPLIT.validation()
    for gap in (0, 5, 20):
        pairs = pairs_at_gap(ANCHORS, steps, gap)
        np.testing.assert_array_equal(ANCHORS.tau[pairs.fresh], steps.step)
        np.testing.assert_array_equal(ANCHORS.tau[pairs.stale], steps.step - gap)
    with pytest.raises(KeyError, match="gap 7"):
        pairs_at_gap(stale_anchors(steps, (0, 5)), steps, 7)


def test_anchors_beyond_training_data_are_refused(requests: Requests) -> None:
    beyond = stale_anchors(SPLIT.test(), (0,))
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=WINDOW)).eval()
    with pytest.raises(DataError, match="beyond the events"):
        make_requests(model, requests.table, EVENTS, beyond)


def test_candidate_scores_agree_with_full_scores(requests: Requests) -> None:
    index = torch.arange(0, len(requests), 7)
    items = torch.randint(0, len(LOG.catalogue), (len(index), 12))
    full = requests.structural(index)
    torch.testing.assert_close(requests.structural_of(index, items), full.gather(1, items))


def test_cues_are_the_papers(requests: Requests) -> None:
    pairs = training_pairs(ANCHORS, training_rows())
    e_sem = torch.randn(len(ANCHORS), DIM, generator=torch.Generator().manual_seed(3))
    candidates = top_candidates(e_sem, requests.table.vectors, 15)
    cues = pair_cues(requests, pairs, e_sem, candidates, window=WINDOW, top_l=6)
    assert cues.shape == (len(pairs), 8)
    for p in range(0, len(pairs), 37):
        fresh, stale = int(pairs.fresh[p]), int(pairs.stale[p])
        t, tau = ANCHORS.tau[fresh], ANCHORS.tau[stale]
        semantic = requests.table.vectors @ e_sem[stale]
        top = torch.argsort(semantic, descending=True)[:6]
        assert top.tolist() == candidates[stale, :6].tolist()
        structural = requests.structural(torch.tensor([fresh]))[0]
        times = EVENTS.time_s[EVENTS.user_start[ANCHORS.user[fresh]] :][: t + 1]  # type: ignore[index]
        known = min(t, WINDOW)
        days = (times[t] - times[t - known]) / 86_400
        expected = [
            t - tau,
            float((requests.e_str[fresh] - requests.e_str[stale]).norm()),
            spearmanr(semantic[top].numpy(), structural[top].numpy()).statistic,
            np.log1p(known),
            np.log1p(known / days),
        ]
        np.testing.assert_allclose(cues[p, :5].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_union_counts_items_once_and_drops_seen_ones(requests: Requests) -> None:
    rows = torch.tensor([3, 60])
    lists = [torch.tensor([[5, 1, 9], [2, 2, 7]]), torch.tensor([[9, 5, 4], [7, 3, 2]])]
    items, valid = united(requests, rows, lists, exclude_seen=False)
    assert [set(i[v].tolist()) for i, v in zip(items, valid, strict=True)] == [
        {1, 4, 5, 9},
        {2, 3, 7},
    ]
    assert valid.sum(1).tolist() == [4, 3]
    items, valid = united(requests, rows, lists, exclude_seen=True)
    for place, row in enumerate(rows.tolist()):
        user, tau = ANCHORS.user[row], ANCHORS.tau[row]
        had = set(LOG.item[LOG.events_of(user)][:tau].tolist())
        left = set(items[place][valid[place]].tolist())
        union = {int(i) for part in lists for i in part[place]}
        assert left == (union - had or {min(union)})


def test_cues_of_time_are_zero_without_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cue is written, whatever lay in memory before."""
    log = drifting_log(users=10, events=40, has_time=False)
    events = events_of(log).keep_first(SPLIT.test_start)
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=WINDOW, has_time=False)).eval()
    timeless = make_requests(model, ItemParameters(len(log.catalogue), DIM), events, ANCHORS)
    pairs = pairs_at_gap(ANCHORS, SPLIT.validation(), 5)
    e_sem = torch.randn(len(timeless), DIM)
    candidates = top_candidates(e_sem, timeless.table.vectors, 8)
    monkeypatch.setattr(
        "training.calibration.pairs.np.empty", lambda *a, **k: np.full(*a, np.nan, **k)
    )
    found = pair_cues(timeless, pairs, e_sem, candidates, window=WINDOW, top_l=5)
    assert torch.isfinite(found).all()
    for name in ("density", "elapsed", "turn", "moved"):
        assert not found[:, CUES.index(name)].any(), name
