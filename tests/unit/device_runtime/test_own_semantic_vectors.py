"""Bundles whose items have a vector of their own for the semantic channel, from end to end."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cloud_service.retrieval.exact import ExactIndex
from device_runtime.cloud.snapshot_cache import CachedSnapshot, CacheKey, MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.cached_snapshot import check_entry
from loadtest.replay.item_pages import ItemPages
from shared.bundle import SEMANTIC_FILE, Bundle, encode_array, load_bundle, write_bundle
from shared.errors import BundleError, SnapshotRejected
from shared.packed import pack
from shared.profile import DeviceProfile
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, new_device, observe, snapshot_of

TABLES = ("float32", "int8", "none")
HISTORY = [4, 9, 9, 17, 2]


def own_bundle(path, table="float32", **options) -> Bundle:
    profile = DeviceProfile(window=10, table=table, starter_items=12)
    return make_bundle(path, profile=profile, semantic_vectors="own", **options)


def holding(bundle: Bundle, snapshot) -> Device:
    cache = MemorySnapshotCache()
    cache._entries["ann", bundle.id] = CachedSnapshot(snapshot, None)
    device = new_device(bundle, cache=cache)
    observe(device, HISTORY, pages=ItemPages(bundle))
    return device


@pytest.mark.parametrize("table", TABLES)
def test_structure_is_scored_by_one_vector_and_semantics_by_the_other(tmp_path, table):
    bundle = own_bundle(tmp_path / "own", table)
    response = holding(bundle, snapshot := snapshot_of(bundle)).request(CONTEXT)
    exact = bundle.array(SEMANTIC_FILE)[response.candidates] @ snapshot.e_sem
    found = (response.uncalibrated - response.structural) / bundle.manifest.fusion_weight
    np.testing.assert_allclose(found, exact, atol=1e-4 if table == "float32" else 0.05)
    shared = make_bundle(tmp_path / "shared", profile=bundle.manifest.profile)
    same = dataclasses.replace(
        snapshot,
        bundle_id=shared.id,
        vectors=None if table != "none" else ItemPages(shared).packed.take(snapshot.items),
    )
    other = holding(shared, same).request(CONTEXT)
    np.testing.assert_array_equal(response.candidates, other.candidates)
    np.testing.assert_allclose(response.structural, other.structural, atol=1e-6)


def test_every_way_a_row_can_come_gives_the_same_scores(tmp_path):
    answers = []
    for table in ("int8", "none"):
        bundle = own_bundle(tmp_path / table, table)
        answers.append(holding(bundle, snapshot_of(bundle)).request(CONTEXT))
    # Without a table the starter's items are ranked beside the cloud's.
    table, none = answers
    same = np.isin(none.candidates, table.candidates)
    np.testing.assert_array_equal(table.candidates, none.candidates[same])
    np.testing.assert_array_equal(table.scores, none.scores[same])


@pytest.mark.parametrize("table", ["float32", "int8"])
def test_re_retrieval_asks_both_vectors_of_the_table(tmp_path, table):
    bundle = own_bundle(tmp_path / "own", table)
    found = DeviceModels.load(bundle).table
    rows = found.of(np.arange(50, dtype=np.int32))[0].astype(np.float64)
    e_str, e_sem = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)
    structural, semantic = rows[:, :8] @ e_str, rows[:, 8:] @ e_sem
    for given, expected in (
        ((e_str, e_sem), structural + semantic),
        ((e_str, None), structural),
        ((None, e_sem), semantic),
    ):
        np.testing.assert_allclose(found.products(*given), expected, atol=1e-5)
    with pytest.raises(ValueError, match="no query"):
        found.products()


def test_the_cloud_retrieves_by_the_channels_own_vectors(tmp_path):
    bundle = own_bundle(tmp_path / "own")
    e_sem = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)
    items, _ = ExactIndex(bundle.semantic_vectors()).search(e_sem, 10)
    expected = np.argsort(-(bundle.array(SEMANTIC_FILE) @ e_sem[0]))[:10]
    assert items[0].tolist() == expected.tolist()
    shared = make_bundle(tmp_path / "shared")
    np.testing.assert_array_equal(shared.semantic_vectors(), shared.array("item_vectors.npy"))


def test_snapshots_and_pages_of_another_number_of_vectors_are_refused(tmp_path):
    bundle = own_bundle(tmp_path / "own", "none")
    shared = make_bundle(tmp_path / "shared", profile=bundle.manifest.profile)
    key = CacheKey(
        user="ann",
        bundle_id=bundle.id,
        dim=8,
        n_items=50,
        vectors=bundle.manifest.vectors_in_snapshot,
    )
    snapshot = snapshot_of(bundle)
    check_entry(CachedSnapshot(snapshot, None), key)
    single = ItemPages(shared).packed.take(snapshot.items)
    with pytest.raises(SnapshotRejected, match=r"1 vector\(s\) of 8 .*, not 2 of 8"):
        check_entry(CachedSnapshot(dataclasses.replace(snapshot, vectors=single), None), key)
    with pytest.raises(ValueError, match="page of item 4 is not of this device's bundle"):
        new_device(bundle).observe(4, 0.0, 0.0, ItemPages(shared).page(4))


def test_a_device_downloads_the_second_vectors_where_no_other_file_holds_them(tmp_path):
    for table in TABLES:
        manifest = own_bundle(tmp_path / table, table).manifest
        assert (SEMANTIC_FILE in manifest.device_files) == (table == "float32")
        assert manifest.vectors_in_snapshot == (2 if table == "none" else 0)
    shared = make_bundle(tmp_path / "shared").manifest
    assert (shared.semantic_vectors, shared.vectors_per_item) == ("shared", 1)


def test_a_bundle_that_lacks_them_is_refused_by_name(tmp_path):
    bundle = own_bundle(tmp_path / "own")
    files = {name: bundle.file(name).read_bytes() for name in bundle.manifest.files}
    lacking = {name: data for name, data in files.items() if name != SEMANTIC_FILE}
    write_bundle(tmp_path / "lacking", bundle.manifest, lacking)
    with pytest.raises(BundleError, match=f"does not list {SEMANTIC_FILE}"):
        load_bundle(tmp_path / "lacking")
    files[SEMANTIC_FILE] = encode_array(np.ones((50, 7), np.float32))
    wrong = write_bundle(tmp_path / "wrong", bundle.manifest, files)
    with pytest.raises(BundleError, match=rf"{SEMANTIC_FILE} has shape \(50, 7\)"):
        DeviceModels.load(wrong)
    with pytest.raises(BundleError, match=rf"{SEMANTIC_FILE} has shape \(50, 7\)"):
        wrong.semantic_vectors()


@pytest.mark.parametrize("table", ["int8", "none"])
def test_a_table_of_another_number_of_vectors_is_refused(tmp_path, table):
    bundle = own_bundle(tmp_path / "own", table)
    single = make_bundle(tmp_path / "single", profile=bundle.manifest.profile)
    name = "item_table.npz" if table == "int8" else "starter_items.npz"
    files = {n: bundle.file(n).read_bytes() for n in bundle.manifest.files}
    files[name] = single.file(name).read_bytes()
    mixed = write_bundle(tmp_path / "mixed", bundle.manifest, files)
    with pytest.raises(BundleError, match=rf"{name} holds codes of int8 .*, not int8 .*16"):
        DeviceModels.load(mixed)


def test_rows_are_packed_with_a_scale_for_each_vector():
    rng = np.random.default_rng(0)
    small = rng.standard_normal((5, 4)).astype(np.float32)
    large, bias = 1000 * rng.standard_normal((5, 4)).astype(np.float32), np.zeros(5, np.float32)
    packed = pack(small, bias, large)
    assert (packed.vectors, packed.dim, packed.nbytes) == (2, 4, 5 * (2 * (4 + 4) + 2))
    rows = packed.unpack()[0]
    np.testing.assert_array_equal(rows[:, :4], pack(small, bias).unpack()[0])
    np.testing.assert_array_equal(rows[:, 4:], pack(large, bias).unpack()[0])
