import numpy as np
import pytest

from device_runtime.state.cached_snapshot import (
    CachedSnapshot,
    CacheKey,
    check_entry,
    decode_entry,
    encode_entry,
)
from shared.errors import SnapshotCorrupt, SnapshotRejected
from tests.support.bundles import make_bundle
from tests.support.devices import snapshot_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


def key(bundle, **changes):
    fields = {"user": "ann", "bundle_id": bundle.id, "dim": 8, "n_items": 50} | changes
    return CacheKey(**fields)


@pytest.mark.parametrize("e_str", [None, np.arange(8, dtype=np.float32)])
def test_round_trip(bundle, e_str):
    entry = decode_entry(encode_entry(CachedSnapshot(snapshot_of(bundle), e_str)))
    assert entry.snapshot == snapshot_of(bundle)
    assert (entry.e_str is None) == (e_str is None)
    if e_str is not None:
        np.testing.assert_array_equal(entry.e_str, e_str)


def test_an_entry_fits_only_its_own_key(bundle):
    entry = CachedSnapshot(snapshot_of(bundle), np.zeros(8, np.float32))
    assert check_entry(entry, key(bundle)) is entry
    for change in ({"user": "bob"}, {"bundle_id": "0" * 16}, {"dim": 9}, {"n_items": 5}):
        with pytest.raises(SnapshotRejected):
            check_entry(entry, key(bundle, **change))
    with pytest.raises(SnapshotRejected, match="newer"):
        check_entry(entry, key(bundle), newer_than=entry.snapshot.version)


@pytest.mark.parametrize("e_str", [np.zeros(7, np.float32), np.full(8, np.nan, np.float32)])
def test_an_unusable_structural_embedding_is_rejected(bundle, e_str):
    with pytest.raises(SnapshotRejected, match="structural"):
        check_entry(CachedSnapshot(snapshot_of(bundle), e_str), key(bundle))


def test_truncation_anywhere_is_noticed(bundle):
    data = encode_entry(CachedSnapshot(snapshot_of(bundle), np.ones(8, np.float32)))
    for length in range(len(data)):
        with pytest.raises(SnapshotCorrupt):
            decode_entry(data[:length])
    with pytest.raises(SnapshotCorrupt):
        decode_entry(data + b"\0")
