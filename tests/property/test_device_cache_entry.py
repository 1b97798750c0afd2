"""No altered byte of a cached snapshot goes unnoticed, and the file is removed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_runtime.cloud.snapshot_cache import DiskSnapshotCache
from device_runtime.state.cached_snapshot import (
    CachedSnapshot,
    CacheKey,
    decode_entry,
    encode_entry,
)
from shared.errors import SnapshotCorrupt
from shared.snapshot import Snapshot
from tests.support.tiers import examples

E_SEM = np.linspace(-1, 1, 8, dtype=np.float32)
SNAPSHOT = Snapshot(
    user="ann",
    tau=5,
    created_ms=99,
    bundle_id="b" * 16,
    e_sem=E_SEM,
    items=np.arange(20, dtype=np.int32),
    scores=np.ones(20, "f4"),
)
ENTRY = encode_entry(CachedSnapshot(SNAPSHOT, E_SEM * 2))
KEY = CacheKey(user="ann", bundle_id="b" * 16, dim=8, n_items=20)


def test_every_single_byte_matters():
    for place in range(len(ENTRY)):
        for flip in (0x01, 0x80, 0xFF):
            broken = bytearray(ENTRY)
            broken[place] ^= flip
            with pytest.raises(SnapshotCorrupt):
                decode_entry(bytes(broken))


@settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.integers(0, len(ENTRY) - 1), flip=st.integers(1, 255), cut=st.integers(0, 40))
def test_a_damaged_file_is_removed_and_an_intact_one_is_not(
    tmp_path: Path, place: int, flip: int, cut: int
):
    cache = DiskSnapshotCache(tmp_path)
    path = cache.path("ann")
    path.write_bytes(ENTRY)
    assert cache.load(KEY).snapshot == SNAPSHOT
    broken = bytearray(ENTRY)
    broken[place] ^= flip
    path.write_bytes(bytes(broken[: len(broken) - cut]))
    assert cache.load(KEY) is None
    assert not path.exists()


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_corrupt_never_a_crash(data):
    with pytest.raises(SnapshotCorrupt):
        decode_entry(data)
