"""Which valid snapshots a reader must refuse, and which values never become a blob."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import msgspec
import numpy as np
import pytest

from shared.errors import SnapshotCorrupt, SnapshotRejected
from shared.snapshot import MAX_BLOB_BYTES, Snapshot, decode, encode, make_version, verify

GOOD = Snapshot(
    user="u1",
    tau=7,
    created_ms=1000,
    bundle_id="b1",
    e_sem=np.array([1.0, 0.0], dtype=np.float32),
    items=np.array([0, 9], dtype=np.int32),
    scores=np.array([2.0, 1.0], dtype=np.float32),
)
READER = {"user": "u1", "bundle_id": "b1", "dim": 2, "n_items": 10}


def changed(**fields):
    return dataclasses.replace(GOOD, **fields)


def test_the_right_snapshot_is_returned():
    assert verify(GOOD, **READER) is GOOD
    assert verify(GOOD, **READER, newer_than=GOOD.version - 1) is GOOD


def test_no_candidates_are_acceptable():
    bare = changed(items=np.array([], np.int32), scores=np.array([], np.float32))
    assert verify(decode(encode(bare)), **READER) == bare


@pytest.mark.parametrize(
    ("snapshot", "newer_than", "message"),
    [
        (changed(user="u2"), None, "another user"),
        (changed(bundle_id="b2"), None, "of bundle b2, not b1"),
        (GOOD, GOOD.version, "step 7 is not newer"),
        (GOOD, make_version(8, 0), "step 7 is not newer"),
        (changed(e_sem=np.ones(3, np.float32)), None, "3 dims, not 2"),
        (changed(e_sem=np.ones((1, 2), np.float32)), None, "dims, not 2"),
        (changed(e_sem=np.zeros(2, np.float32)), None, "all zeros"),
        (changed(items=np.array([0, 10], np.int32)), None, "items that the bundle does not hold"),
        (changed(items=np.array([-1, 3], np.int32)), None, "items that the bundle does not hold"),
    ],
)
def test_rejections(snapshot, newer_than, message):
    with pytest.raises(SnapshotRejected, match=message):
        verify(snapshot, **READER, newer_than=newer_than)


def test_a_foreign_user_is_not_named():
    with pytest.raises(SnapshotRejected) as caught:
        verify(changed(user="someone-else"), **READER)
    assert "someone-else" not in str(caught.value)


@pytest.mark.parametrize("field", ["e_sem", "scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(field, value):
    with pytest.raises(SnapshotCorrupt, match="not finite"):
        decode(encode(changed(**{field: np.array([1.0, value], np.float32)})))


def test_items_and_scores_of_different_length_are_never_written():
    with pytest.raises(ValueError, match="1 items but 2 scores"):
        encode(changed(items=np.array([1], np.int32)))


@pytest.mark.parametrize(("tau", "created"), [(-1, 0), (1 << 22, 0), (0, -1), (0, 1 << 42)])
def test_versions_out_of_range(tau, created):
    with pytest.raises(ValueError, match="out of range"):
        make_version(tau, created)


def sealed(body, version=GOOD.version, magic=b"SCLR", fmt=1):
    """A blob with a right checksum around whatever body."""
    header = struct.Struct(">4sBQI")
    crc = zlib.crc32(body, zlib.crc32(header.pack(magic, fmt, version, 0)))
    return header.pack(magic, fmt, version, crc) + body


GOOD_BODY = ["u1", 7, 1000, "b1", b"\0\0\x80?", b"\0\0\0\0", b"\0\0\0\0"]


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (sealed(msgspec.msgpack.encode(GOOD_BODY), magic=b"XXXX"), "not a format-1"),
        (sealed(msgspec.msgpack.encode(GOOD_BODY), fmt=2), "not a format-1"),
        (sealed(msgspec.msgpack.encode(GOOD_BODY[:-1])), "malformed body"),
        (sealed(msgspec.msgpack.encode([*GOOD_BODY[:4], b"abc", b"", b""])), "malformed body"),
        (sealed(msgspec.msgpack.encode(["u1", -1, *GOOD_BODY[2:]])), "malformed body"),
        (sealed(msgspec.msgpack.encode([1, *GOOD_BODY[1:]])), "malformed body"),
        (sealed(b"\xc1"), "malformed body"),
        (sealed(msgspec.msgpack.encode(["u1", 8, *GOOD_BODY[2:]])), "contradicts its own header"),
        (sealed(msgspec.msgpack.encode([*GOOD_BODY[:6], b""])), "contradicts its own header"),
        (b"SCLR\x01" + bytes(MAX_BLOB_BYTES), "too large"),
    ],
)
def test_well_sealed_nonsense_is_refused(blob, message):
    with pytest.raises(SnapshotCorrupt, match=message):
        decode(blob)


def test_the_crafted_body_itself_is_sound():
    assert decode(sealed(msgspec.msgpack.encode(GOOD_BODY))).user == "u1"
