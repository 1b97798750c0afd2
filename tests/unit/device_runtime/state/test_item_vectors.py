"""What a device knows of items, and that it cannot score what it does not know."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.transport import TransportResponse
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.settings import LinkSettings
from device_runtime.state.item_vectors import (
    BLOCK_ROWS,
    Float32Table,
    Int8Table,
    ItemPage,
    KnownItems,
    MetVectors,
    UnknownVector,
)
from loadtest.replay.item_pages import ItemPages
from shared.bundle import MANIFEST, Bundle, load_bundle
from shared.errors import BundleError
from shared.item_files import by_popularity
from shared.packed import pack
from shared.profile import PRESETS, DeviceProfile
from shared.snapshot import Snapshot, encode
from tests.support.bundles import make_bundle, make_catalogue
from tests.support.devices import CONTEXT, FakeCloud, new_device, observe, snapshot_of
from tests.support.transports import ScriptedTransport

DIM, N = 4, 40
RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((N, DIM)).astype(np.float32)
BIAS = RNG.standard_normal(N).astype(np.float32)
PACKED = pack(VECTORS, BIAS)
ALL = np.arange(N, dtype=np.int32)


def page(item: int) -> ItemPage:
    return ItemPage(PACKED.take(np.array([item])))


def offering(*items: int) -> Snapshot:
    array = np.array(items, np.int32)
    ones = np.ones(DIM, np.float32)
    return Snapshot(
        user="u",
        tau=0,
        created_ms=0,
        bundle_id="b",
        e_sem=ones,
        items=array,
        scores=ones[:0].repeat(0),
        vectors=PACKED.take(array),
    )


class TestMetVectors:
    @given(st.lists(st.tuples(st.integers(0, N - 1), st.booleans()), max_size=60), st.data())
    def test_known_are_the_last_used_items_with_a_page_and_what_else_came(self, met, data):
        starter = data.draw(st.lists(st.integers(0, N - 1), unique=True, max_size=4))
        offered = data.draw(st.lists(st.integers(0, N - 1), max_size=6))
        array = np.array(starter, np.int32)
        vectors = MetVectors(5, DIM, KnownItems(array, PACKED.take(array)))
        vectors.offer(offering(*offered))
        last: list[int] = []
        for item, shown in met:
            changed = vectors.meet(item, page(item) if shown else None)
            assert changed == (shown and item not in last)
            if shown or item in last:
                last = [*(i for i in last if i != item), item][-5:]
        known = {*last, *offered, *starter}
        assert set(ALL[vectors.known(ALL)].tolist()) == known
        wanted = np.array(sorted(known), np.int32)
        for found, expected in zip(vectors.of(wanted), PACKED.unpack(), strict=True):
            np.testing.assert_array_equal(found, expected[wanted])
        for item in set(ALL.tolist()) - known:
            with pytest.raises(UnknownVector, match=f"{item}"):
                vectors.of(np.array([item], np.int32))

    def test_a_new_snapshot_replaces_what_the_last_one_offered(self):
        vectors = MetVectors(5, DIM)
        vectors.offer(offering(1, 2))
        vectors.offer(offering(2, 3))
        assert ALL[vectors.known(ALL)].tolist() == [2, 3]

    def test_nothing_is_known_at_first(self):
        assert not MetVectors(5, DIM).known(ALL).any()
        assert MetVectors(5, DIM).of(ALL[:0])[0].shape == (0, DIM)


@pytest.mark.parametrize("n", [1, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 7])
def test_blocks_make_no_difference_to_products(n):
    vectors = RNG.standard_normal((n, 16)).astype(np.float32)
    packed = pack(vectors, np.zeros(n, np.float32))
    query = RNG.standard_normal(16).astype(np.float32)
    int8 = Int8Table(packed)
    np.testing.assert_allclose(int8.products(query), packed.unpack()[0] @ query, atol=1e-4)
    float32 = Float32Table(vectors, np.zeros(n, np.float32))
    assert np.abs(int8.products(query) - float32.products(query)).max() < 0.2
    assert int8.nbytes < float32.nbytes / 2


@pytest.fixture
def tiny(tmp_path) -> Bundle:
    profile = DeviceProfile(name="tiny", window=4, table="none", met_items=4, starter_items=6)
    return make_bundle(tmp_path / "tiny", profile=profile)


@pytest.mark.parametrize("name", PRESETS)
def test_a_device_needs_nothing_but_what_the_manifest_lets_it_download(tmp_path, name):
    whole = make_bundle(tmp_path / "whole", profile=PRESETS[name])
    on_device = tmp_path / "device"
    on_device.mkdir()
    for file in (MANIFEST, *whole.manifest.device_files):
        shutil.copy(whole.path / file, on_device / file)
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(on_device)
    bundle = load_bundle(on_device, device=True)
    device = Device("u", DeviceModels.load(bundle), TemplateAbstract(make_catalogue(50)))
    observe(device, [1, 2, 3], pages=ItemPages(whole))
    assert len(device.request(CONTEXT).items) == 10
    names = set(bundle.manifest.device_files)
    assert ("item_vectors.npy" in names) == (name == "small")
    assert "projector.onnx" not in names


def test_a_damaged_file_is_refused_by_a_device_too(tmp_path, tiny):
    (tiny.path / "starter_items.npz").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"starter_items\.npz does not match"):
        load_bundle(tiny.path, device=True)


def link_to(*answers) -> CloudLink:
    return CloudLink(ScriptedTransport(answers), LinkSettings(attempts=1, breaker_failures=1000))


async def test_without_a_page_an_item_is_neither_encoded_nor_ranked(tiny):
    device, twin = new_device(tiny), new_device(tiny)
    await device.refresh(link_to(FakeCloud(tiny)), CONTEXT)
    await twin.refresh(link_to(FakeCloud(tiny)), CONTEXT)
    known = set(device.snapshot.snapshot.items.tolist()) | set(DeviceModels.load(tiny).popular)
    unknown = next(item for item in range(50) if item not in known)
    pages = ItemPages(tiny)
    known_item = int(device.snapshot.snapshot.items[0])
    for each in (device, twin):
        each.observe(known_item, 0.0, 0.0, pages.page(known_item))
    device.observe(unknown, 3600.0, 1.0)
    response, reference = device.request(CONTEXT), twin.request(CONTEXT)
    assert unknown not in response.candidates
    np.testing.assert_array_equal(response.structural, reference.structural)
    assert response.diagnostics.delta == reference.diagnostics.delta + 1
    device.observe(unknown, 3600.0, 1.0, pages.page(unknown))
    assert unknown in device.request(CONTEXT).candidates


async def test_the_window_is_never_forgotten_however_many_items_are_met(tiny):
    device, pages = new_device(tiny), ItemPages(tiny)
    observe(device, list(range(30)), pages=pages)
    assert {26, 27, 28, 29} <= set(device.request(CONTEXT).candidates.tolist())


async def test_a_snapshot_without_vectors_is_rejected(tiny):
    device = new_device(tiny)
    bare = snapshot_of(tiny)
    bare = Snapshot(
        user=bare.user,
        tau=bare.tau,
        created_ms=bare.created_ms,
        bundle_id=bare.bundle_id,
        e_sem=bare.e_sem,
        items=bare.items,
        scores=bare.scores,
    )
    result = await device.refresh(link_to(TransportResponse(200, {}, encode(bare))), CONTEXT)
    assert result.outcome == "rejected"
    assert "lacks its candidates' vectors" in result.detail
    assert device.request(CONTEXT).source == "local"


async def test_candidates_are_scored_with_the_vectors_their_snapshot_brought(tiny):
    device = new_device(tiny)
    await device.refresh(link_to(FakeCloud(tiny)), CONTEXT)
    snapshot = device.snapshot.snapshot
    response = device.request(CONTEXT)
    starters = by_popularity(tiny.array("item_popularity.npy"))[:6]
    assert response.candidates.tolist() == np.union1d(snapshot.items, starters).tolist()
    vectors, bias = snapshot.vectors.unpack()
    fused = bias + np.float32(tiny.manifest.fusion_weight) * (vectors @ snapshot.e_sem)
    brought = np.searchsorted(response.candidates, snapshot.items)
    np.testing.assert_allclose(response.uncalibrated[brought], fused, atol=1e-5)
