"""What a bundle of the paper's variant answers, held to numbers from before anything was added."""

from __future__ import annotations

import numpy as np
import pytest

from device_runtime.cloud.snapshot_cache import CachedSnapshot, MemorySnapshotCache
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from shared.profile import DeviceProfile
from tests.support.bundles import make_bundle
from tests.support.devices import new_device, observe, snapshot_of

HISTORY = [4, 9, 9, 17, 2, 31, 4]
GOLDEN = {
    "float32": (
        [31, 18, 2, 3, 10, 4, 17, 9, 0, 8],
        [
            3.107416,
            1.927634,
            1.635412,
            1.632319,
            1.612239,
            1.384591,
            1.26769,
            1.14837,
            1.120772,
            1.078642,
        ],
    ),
    "int8": (
        [31, 18, 3, 2, 10, 4, 17, 9, 0, 8],
        [
            3.10701,
            1.927423,
            1.636644,
            1.636149,
            1.617517,
            1.381912,
            1.264279,
            1.154072,
            1.126544,
            1.081451,
        ],
    ),
    "none": (
        [31, 18, 3, 2, 10, 4, 17, 9, 0, 8],
        [
            3.10701,
            1.927423,
            1.636644,
            1.636149,
            1.617517,
            1.381912,
            1.264279,
            1.154072,
            1.126544,
            1.081451,
        ],
    ),
}


@pytest.mark.parametrize("table", ["float32", "int8", "none"])
def test_answers_are_what_they_were(tmp_path, table):
    local = 0 if table == "none" else 15
    profile = DeviceProfile(window=5, table=table, starter_items=12, local_candidates=local)
    bundle = make_bundle(tmp_path / "bundle", profile=profile)
    cache = MemorySnapshotCache()
    e_str = np.linspace(-0.5, 0.5, 8, dtype=np.float32)
    cache._entries["ann", bundle.id] = CachedSnapshot(snapshot_of(bundle), e_str)
    device = new_device(bundle, cache=cache)
    observe(device, HISTORY, pages=ItemPages(bundle))
    response = device.request(RequestContext(3600.0 * 9, 9.0))
    scores = response.scores[np.searchsorted(response.candidates, response.items)]
    items, expected = GOLDEN[table]
    assert response.items.tolist() == items
    np.testing.assert_allclose(scores, expected, atol=2e-6)
