"""Limits of what a device knows that the presets do not reach; the rest is held to the device in
``tests/integration/test_twin_is_device.py``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from device_runtime.state.history import History
from shared.profile import SHORTLIST, preset
from shared.split import Steps
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.pools import Pools, make_pools
from training.semantic.anchors import stale_anchors
from training.semantic.requests import Requests, make_requests

WINDOW, ITEMS = 6, 300
LOG = drifting_log(users=4, events=30, items=ITEMS)
POPULARITY = np.arange(ITEMS)[::-1] // 7


@pytest.fixture(scope="module")
def requests() -> Requests:
    steps = Steps(np.arange(4, dtype=np.int32), np.array([3, 10, 20, 29], np.int32))
    model = SASRec(SASRecConfig(dim=8, layers=1, window=WINDOW)).eval()
    table = ItemParameters(ITEMS, 8)
    with torch.no_grad():
        return make_requests(model, table, events_of(LOG), stale_anchors(steps, ()))


def pools_of(requests: Requests, *, exclude_seen: bool = False, **limits: object) -> Pools:
    profile = preset("tiny").model_copy(update={"window": WINDOW} | limits)
    rows = np.arange(len(requests))
    return make_pools(requests, rows, profile, POPULARITY, exclude_seen=exclude_seen)


def items_of(mask: torch.Tensor | None, row: int) -> list[int]:
    assert mask is not None
    return torch.nonzero(mask[row])[:, 0].tolist()


@pytest.mark.parametrize("retain", ["window", "all"])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_only_what_is_retained_is_own_or_barred(
    requests: Requests, exclude_seen: bool, retain: str
) -> None:
    pools = pools_of(requests, exclude_seen=exclude_seen, retain=retain)
    for row, (user, step) in enumerate(
        zip(requests.anchors.user, requests.anchors.tau, strict=True)
    ):
        history = History(WINDOW, retain)  # type: ignore[arg-type]
        for event in range(LOG.user_start[user], LOG.user_start[user] + step):
            history.append(int(LOG.item[event]), None, 0.0)
        mask = pools.barred if exclude_seen else pools.own
        assert items_of(mask, row) == history.distinct.tolist()


def test_the_shortlist_is_of_starters_that_are_not_barred(requests: Requests) -> None:
    pools = pools_of(requests, exclude_seen=True, starter_items=150)
    popular = np.argsort(-POPULARITY, kind="stable")[:150].tolist()
    for row in range(len(requests)):
        barred = set(items_of(pools.barred, row))
        wanted = [item for item in popular if item not in barred][:SHORTLIST]
        assert items_of(pools.alone(), row) == sorted(wanted)
    assert pools.own is None


def test_starters_that_the_user_had_are_known_beyond_the_last_met(requests: Requests) -> None:
    pools = pools_of(requests, met_items=WINDOW, starter_items=20)
    had = pools_of(requests, met_items=ITEMS).own
    last = pools_of(requests, met_items=WINDOW, starter_items=1).own
    more = 0
    for row in range(len(requests)):
        known = set(items_of(last, row)) | {i for i in items_of(had, row) if i < 20}
        assert set(items_of(pools.own, row)) == known
        more += len(known) - len(items_of(last, row))
    assert more > 0
