"""The snapshot blob: what is written is read, and nothing else is ever accepted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.errors import SnapshotCorrupt
from shared.packed import PackedVectors
from shared.snapshot import VERSION_SLICE, Snapshot, decode, encode, make_version

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
steps, moments = st.integers(0, (1 << 22) - 1), st.integers(0, (1 << 42) - 1)


@st.composite
def snapshots(draw):
    n, dim, k = draw(st.integers(0, 20)), draw(st.integers(0, 16)), draw(st.sampled_from([1, 2]))
    k = k if n else 1  # of no items it cannot be told
    packed = PackedVectors(
        draw(arrays.arrays(np.int8, (n, k * dim))),
        draw(arrays.arrays(np.float32, (n, k), elements=st.floats(0, 2.0**90, width=32))),
        draw(arrays.arrays(np.float16, n, elements=st.floats(-6e4, 6e4, width=16))),
    )
    return Snapshot(
        user=draw(st.text(st.characters(codec="utf-8"), max_size=40)),
        tau=draw(steps),
        created_ms=draw(moments),
        bundle_id=draw(st.text(st.characters(codec="utf-8"), max_size=20)),
        e_sem=draw(arrays.arrays(np.float32, dim, elements=finite)),
        items=draw(arrays.arrays(np.int32, n)),
        scores=draw(arrays.arrays(np.float32, n, elements=finite)),
        vectors=draw(st.sampled_from([None, packed])),
    )


@given(snapshots())
def test_round_trip(snapshot):
    read = decode(encode(snapshot))
    assert read == snapshot
    for field in ("user", "tau", "created_ms", "bundle_id", "version"):
        assert getattr(read, field) == getattr(snapshot, field)
    for field in ("e_sem", "items", "scores"):
        np.testing.assert_array_equal(getattr(read, field), getattr(snapshot, field))
        assert getattr(read, field).dtype == getattr(snapshot, field).dtype
    assert (read.vectors is None) == (snapshot.vectors is None)
    if read.vectors is not None:
        for field in ("codes", "scale", "bias"):
            found, expected = getattr(read.vectors, field), getattr(snapshot.vectors, field)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


@settings(max_examples=30)
@given(snapshots(), st.integers(1, 255))
def test_every_altered_byte_is_detected(snapshot, flip):
    blob = encode(snapshot)
    for position in range(len(blob)):
        altered = bytearray(blob)
        altered[position] ^= flip
        with pytest.raises(SnapshotCorrupt):
            decode(bytes(altered))


@settings(max_examples=30)
@given(snapshots())
def test_every_truncation_is_detected(snapshot):
    blob = encode(snapshot)
    for length in range(len(blob)):
        with pytest.raises(SnapshotCorrupt):
            decode(blob[:length])


@given(snapshots(), st.binary(min_size=1, max_size=40))
def test_appended_bytes_are_detected(snapshot, tail):
    with pytest.raises(SnapshotCorrupt):
        decode(encode(snapshot) + tail)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(blob):
    with pytest.raises(SnapshotCorrupt):
        decode(blob)


@given(snapshots(), snapshots(), st.data())
def test_halves_of_two_snapshots_never_make_one(one, other, data):
    first, second = encode(one), encode(other)
    cut = data.draw(st.integers(1, min(len(first), len(second)) - 1))
    mixed = first[:cut] + second[cut:]
    if mixed not in (first, second):
        with pytest.raises(SnapshotCorrupt):
            decode(mixed)


@given(steps, moments, steps, moments)
def test_versions_order_by_step_then_time_also_as_bytes(tau, created, other_tau, other_created):
    one, other = make_version(tau, created), make_version(other_tau, other_created)
    assert (one < other) == ((tau, created) < (other_tau, other_created))
    # The store compares the bytes of two blobs without decoding them.
    assert (one < other) == (one.to_bytes(8, "big") < other.to_bytes(8, "big"))


@given(snapshots())
def test_version_lies_where_the_store_looks(snapshot):
    assert encode(snapshot)[VERSION_SLICE] == snapshot.version.to_bytes(8, "big")
