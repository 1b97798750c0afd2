"""Which terms of a device's score are taken, where it is known what each is worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.profile import preset
from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.calibration.pairs import Pairs, pairs_at_gap, top_candidates
from training.encoders.sasrec import SASRec, SASRecConfig
from training.fusion.fit import FittedFusion, FusionOptions, fit_fusion
from training.pools import Ranked
from training.semantic.anchors import merge, stale_anchors, training_anchors
from training.semantic.requests import Requests, make_requests

DIM = 8
OPTIONS = FusionOptions(own_counts=True, kept=None, exclude_seen=False)


@pytest.fixture(scope="module")
def known() -> tuple[Requests, Pairs, np.ndarray]:
    """Requests of users who return to what they had, for a structure that knows nothing."""
    torch.manual_seed(0)
    log = drifting_log(users=60, events=40)
    split = split_log(log, test_steps=2, validation_steps=3)
    anchors = merge(training_anchors(split, 6), stale_anchors(split.validation(), (0, 5)))
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=6, return_mechanism=False)).eval()
    table = ItemParameters(len(log.catalogue), DIM)
    with torch.no_grad():
        table.vectors.mul_(0.01)
    requests = make_requests(model, table, events_of(log).keep_first(split.test_start), anchors)
    semantics = torch.eye(len(log.catalogue), DIM) + 0.1 * torch.randn(len(log.catalogue), DIM)
    popularity = np.bincount(log.item, minlength=len(log.catalogue)).astype(np.float32)
    pairs = pairs_at_gap(anchors, split.validation(), 5)
    return requests.equipped(semantics, None), pairs, popularity


def fitted(
    known: tuple[Requests, Pairs, np.ndarray], e_sem: Tensor, text: Tensor | None, profile: str
) -> FittedFusion:
    requests, pairs, popularity = known
    ranked = Ranked(
        setting="device",
        profile=preset(profile),
        candidates=top_candidates(e_sem, requests.semantics, 20),
        popularity=popularity,
        exclude_seen=False,
    )
    return fit_fusion(requests, e_sem, text, (pairs.fresh, pairs.stale), ranked, OPTIONS)


def toward(requests: Requests) -> Tensor:
    """Points at every request's target."""
    return 3.0 * requests.semantics[requests.target]


@pytest.mark.parametrize("profile", ["tiny", "full"])
def test_what_says_something_is_taken_and_noise_is_off(
    known: tuple[Requests, Pairs, np.ndarray], profile: str
) -> None:
    requests, *_ = known
    noise = torch.randn(2, len(requests), DIM)
    found = fitted(known, toward(requests), noise[0], profile)
    assert found.fusion_weight > 0
    assert found.text_weight == 0
    assert found.chosen_on["fresh"] > found.chosen_on["counts"] + 0.1
    assert fitted(known, noise[1], toward(requests), profile).text_weight > 0
    off = fitted(known, noise[1], noise[0], profile)
    assert (off.text_weight, off.fusion_weight) == (0.0, 0.0)
    if profile == "full":  # without a list there is one ranking at every age
        assert off.chosen_on["fresh"] == off.chosen_on["counts"]


def test_those_who_return_are_counted(known: tuple[Requests, Pairs, np.ndarray]) -> None:
    requests, *_ = known
    found = fitted(known, torch.randn(len(requests), DIM), None, "full")
    assert found.counts is not None
    assert found.chosen_on["counts"] > found.chosen_on["structure"] + 0.05


def test_a_choice_survives_being_kept(known: tuple[Requests, Pairs, np.ndarray]) -> None:
    found = fitted(known, toward(known[0]), None, "tiny")
    assert FittedFusion.model_validate_json(found.model_dump_json()) == found
