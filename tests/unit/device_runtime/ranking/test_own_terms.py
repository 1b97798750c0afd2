"""The own-history term, wherever a device scores by structure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from device_runtime.cloud.snapshot_cache import CachedSnapshot, MemorySnapshotCache
from device_runtime.ranking.own_terms import RequestTerms
from loadtest.replay.item_pages import ItemPages
from shared.bundle import MANIFEST, CollaborationSpec, load_bundle
from shared.errors import BundleError
from shared.own_score import OwnCounts
from shared.profile import DeviceProfile
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, new_device, observe, snapshot_of

# 30 is far out of the window of 5, where the encoder and its copies do not reach.
HISTORY = [30, 30, 30, 1, 2, 3, 4, 5, 6]
COUNTS = OwnCounts(weight=1.5, scale=4.0, half_life=6.0)


def expected_bonus(item: int) -> float:
    ages = [len(HISTORY) - 1 - j for j, other in enumerate(HISTORY) if other == item]
    return 1.5 * math.log1p(4.0 * sum(2.0 ** (-age / 6.0) for age in ages))


def answer(path, *, counts, held=True, table="float32", local=0, **options):
    profile = DeviceProfile(window=5, table=table, local_candidates=local, starter_items=12)
    bundle = make_bundle(path, profile=profile, own_counts=counts)
    cache = MemorySnapshotCache()
    if held:
        cache._entries["ann", bundle.id] = CachedSnapshot(snapshot_of(bundle), None)
    device = new_device(bundle, cache=cache, **options)
    observe(device, HISTORY, pages=ItemPages(bundle))
    return device.request(CONTEXT)


@pytest.mark.parametrize("table", ["float32", "int8", "none"])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("collaboration", [None, CollaborationSpec()])
def test_own_items_gain_their_term_and_nothing_else_does(tmp_path, table, held, collaboration):
    given = {"table": table, "held": held, "collaboration": collaboration}
    bare = answer(tmp_path / "bare", counts=None, **given)
    counted = answer(tmp_path / "counted", counts=COUNTS, **given)
    common, at, was = np.intersect1d(counted.candidates, bare.candidates, return_indices=True)
    assert set(HISTORY) <= set(common.tolist())
    gained = counted.structural[at] - bare.structural[was]
    expected = [expected_bonus(item) if item in HISTORY else 0.0 for item in common]
    if collaboration is not None and held:  # its share was chosen for structure alone
        np.testing.assert_array_equal(gained, 0.0)
        np.testing.assert_array_equal(counted.scores[at], bare.scores[was])
        return
    np.testing.assert_allclose(gained, expected, atol=1e-5)
    if collaboration is None:
        gained = counted.uncalibrated[at] - bare.uncalibrated[was]
        np.testing.assert_allclose(gained, expected, atol=1e-5)


def test_re_retrieval_finds_what_only_the_counts_speak_for(tmp_path):
    """An item that neither window nor snapshot holds, and whose vector says nothing for it."""
    strong = COUNTS.model_copy(update={"weight": 50.0})
    profile = DeviceProfile(window=5, unite_history=False, local_candidates=3)
    found = []
    for name, counts in (("bare", None), ("counted", strong)):
        bundle = make_bundle(tmp_path / name, profile=profile, own_counts=counts)
        cache = MemorySnapshotCache()
        cache._entries["ann", bundle.id] = CachedSnapshot(snapshot_of(bundle), None)
        device = new_device(bundle, cache=cache)
        observe(device, [7] * 9 + [1, 2, 3, 4, 5])
        found.append(7 in device.request(CONTEXT).candidates)
    assert found == [False, True]


def test_omega_compares_the_own_score(tmp_path):
    bare = answer(tmp_path / "bare", counts=None)
    counted = answer(tmp_path / "counted", counts=COUNTS.model_copy(update={"weight": 30.0}))
    assert bare.diagnostics.omega != counted.diagnostics.omega


def test_a_weight_of_0_changes_nothing_to_the_last_bit(tmp_path):
    bare = answer(tmp_path / "bare", counts=None, local=9)
    off = answer(tmp_path / "off", counts=COUNTS.model_copy(update={"weight": 0.0}), local=9)
    for field in ("candidates", "scores", "uncalibrated", "structural"):
        np.testing.assert_array_equal(getattr(bare, field), getattr(off, field))


def test_the_manifest_keeps_the_term(tmp_path):
    plain, counted = make_bundle(tmp_path / "plain"), make_bundle(tmp_path / "c", own_counts=COUNTS)
    assert load_bundle(counted.path).manifest.own_counts == COUNTS
    assert load_bundle(plain.path).manifest.own_counts is None
    assert plain.id != counted.id
    path = counted.path / MANIFEST
    path.write_text(path.read_text().replace('"half_life": 6.0', '"half_life": 7.0'))
    with pytest.raises(BundleError, match="was altered"):
        load_bundle(counted.path)


@pytest.mark.parametrize(
    "changed", [{"weight": -1.0}, {"scale": 0.0}, {"half_life": 0.0}, {"half_life": math.inf}]
)
def test_terms_that_mean_nothing_are_refused(changed):
    with pytest.raises(ValidationError):
        OwnCounts.model_validate(COUNTS.model_dump() | changed)


def test_items_beyond_the_own_ones_have_no_term():
    terms = RequestTerms(items=np.array([3, 8], np.int32), bonus=np.array([0.5, 0.25], np.float32))
    items = np.array([0, 3, 5, 8, 99], np.int32)
    none = RequestTerms(items=np.empty(0, np.int32), bonus=np.empty(0, np.float32))
    for added, expected in ((terms, [1.0, 1.5, 1.0, 1.25, 1.0]), (none, [1.0] * 5)):
        scores = np.ones(5, np.float32)
        added.add_to(scores, items, ROWS)
        assert scores.tolist() == expected


ROWS = np.ones((5, 2), np.float32)
