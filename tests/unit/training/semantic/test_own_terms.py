"""Own terms of a request's score, against sums over its events."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared.own_score import OwnCounts
from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import training_anchors
from training.semantic.own_terms import OwnTerms
from training.semantic.requests import Requests, make_requests

DIM = 8
COUNTS = OwnCounts(weight=0.5, scale=3.0, half_life=4.0)


@pytest.fixture(scope="module")
def requests() -> Requests:
    torch.manual_seed(0)
    log = drifting_log(users=8, events=30)
    split = split_log(log, test_steps=2)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=6)).eval()
    table = ItemParameters(len(log.catalogue), DIM)
    anchors = training_anchors(split, 6)
    return make_requests(model, table, events_of(log).keep_first(split.test_start), anchors)


def bonus(requests: Requests, row: int, kept: int | None) -> np.ndarray:
    events, tau = requests.events, int(requests.anchors.tau[row])
    first = events.user_start[requests.anchors.user[row]]
    found = np.zeros(len(requests.table.bias))
    for age, item in enumerate(events.item[first : first + tau][::-1].tolist()):
        if kept is None or age < kept:
            found[item] += 2.0 ** (-age / COUNTS.half_life)
    return COUNTS.weight * np.log1p(COUNTS.scale * found)


@pytest.mark.parametrize("kept", [None, 5])
def test_counts_are_of_all_kept_events_the_latest_whole(
    requests: Requests, kept: int | None
) -> None:
    index = torch.arange(len(requests))
    plain = requests.structural(index)
    counted = requests.equipped(None, OwnTerms(COUNTS, kept=kept)).structural(index)
    for row in range(0, len(requests), 5):
        found = (counted - plain)[row].detach().numpy()
        np.testing.assert_allclose(found, bonus(requests, row, kept), atol=1e-4)


def test_text_is_scored_with_the_semantic_vectors(requests: Requests) -> None:
    text, vectors = torch.randn(len(requests), DIM), torch.randn(requests.semantics.shape)
    index = torch.arange(len(requests))
    told = requests.equipped(vectors, OwnTerms(text=text, text_weight=0.25))
    expected = requests.structural(index) + 0.25 * text @ vectors.T
    torch.testing.assert_close(told.structural(index), expected)


def test_candidates_get_the_scores_of_the_whole_catalogue(requests: Requests) -> None:
    text, vectors = torch.randn(len(requests), DIM), torch.randn(requests.semantics.shape)
    told = requests.equipped(vectors, OwnTerms(COUNTS, text, 2.0, kept=7))
    index = torch.arange(len(requests))
    items = torch.randint(0, len(requests.table.bias), (len(requests), 5))
    expected = told.structural(index).gather(1, items)
    torch.testing.assert_close(told.structural_of(index, items), expected, atol=1e-4, rtol=1e-4)


def test_nothing_later_than_the_request_is_counted(requests: Requests) -> None:
    row = 0
    index = torch.tensor([row])
    counted = requests.equipped(None, OwnTerms(COUNTS))
    before = counted.structural(index)
    events = requests.events
    first = events.user_start[requests.anchors.user[row]]
    later = slice(
        first + requests.anchors.tau[row], events.user_start[requests.anchors.user[row] + 1]
    )
    kept = events.item[later].copy()
    events.item[later] = 0
    try:
        assert torch.equal(counted.structural(index), before)
    finally:
        events.item[later] = kept
