"""Requests of a small log under an untrained encoder."""

from __future__ import annotations

import pytest
import torch

from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import stale_anchors
from training.semantic.requests import Requests, make_requests

DIM, WINDOW = 6, 8
GAPS = tuple(range(21))


@pytest.fixture(scope="session")
def requests_of_log() -> Requests:
    torch.manual_seed(0)
    log = drifting_log(users=5, events=40)
    split = split_log(log, test_steps=3, calibration_steps=4)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=WINDOW)).eval()
    events = events_of(log).keep_first(split.test_start)
    anchors = stale_anchors(split.calibration(), GAPS)
    return make_requests(model, ItemParameters(len(log.catalogue), DIM), events, anchors)
