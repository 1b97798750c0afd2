"""Which valid snapshots a reader must refuse, and which values never become a blob."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import msgspec
import numpy as np
import pytest

from shared.errors import SnapshotCorrupt, SnapshotRejected
from shared.packed import pack
from shared.snapshot import (
    MAX_BLOB_BYTES,
    Snapshot,
    decode,
    encode,
    make_version,
    most_candidates,
    verify,
)

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


def sealed(body, version=GOOD.version, magic=b"SCLR", fmt=2):
    """A blob with a right checksum around whatever body."""
    header = struct.Struct(">4sBQI")
    crc = zlib.crc32(body, zlib.crc32(header.pack(magic, fmt, version, 0)))
    return header.pack(magic, fmt, version, crc) + body


DEEP_BODY = (
    b"\x99"
    + b"".join(
        msgspec.msgpack.encode(part)
        for part in ("u1", 7, 1000, "b1", b"\0\0\x80?", b"\0\0\0\0", b"\0\0\0\0", None)
    )
    + b"\x91" * 50_000
    + b"\xc0"
)
GOOD_BODY = ["u1", 7, 1000, "b1", b"\0\0\x80?", b"\0\0\0\0", b"\0\0\0\0", None]
ONE_VECTOR = (b"\x05", b"\0\0\x80?", b"\0\0")  # of one item in one dimension


def with_vectors(*vectors):
    return sealed(msgspec.msgpack.encode([*GOOD_BODY[:7], vectors]))


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (sealed(msgspec.msgpack.encode(GOOD_BODY), magic=b"XXXX"), "not a format-2"),
        (sealed(msgspec.msgpack.encode(GOOD_BODY), fmt=1), "not a format-2"),
        (sealed(msgspec.msgpack.encode(GOOD_BODY[:-1])), "malformed body"),
        (
            sealed(msgspec.msgpack.encode([*GOOD_BODY[:4], b"abc", b"", b"", None])),
            "malformed body",
        ),
        (sealed(msgspec.msgpack.encode(["u1", -1, *GOOD_BODY[2:]])), "malformed body"),
        (sealed(msgspec.msgpack.encode([1, *GOOD_BODY[1:]])), "malformed body"),
        (sealed(b"\xc1"), "malformed body"),
        # More levels than a reader has, in a member that no snapshot has.
        (sealed(DEEP_BODY), "malformed body"),
        (sealed(msgspec.msgpack.encode(["u1", 8, *GOOD_BODY[2:]])), "contradicts its own header"),
        (sealed(msgspec.msgpack.encode([*GOOD_BODY[:6], b"", None])), "contradicts its own header"),
        (with_vectors(b"", *ONE_VECTOR[1:]), "vectors are not those of 1 items in 1 dimensions"),
        (with_vectors(b"\x05\x05", *ONE_VECTOR[1:]), "vectors are not those of 1 items"),
        (with_vectors(*ONE_VECTOR[:2], b""), "vectors are not those of 1 items"),
        (with_vectors(*ONE_VECTOR[:2]), "malformed body"),
        (with_vectors(ONE_VECTOR[0], b"\0\0\x80\x7f", ONE_VECTOR[2]), "are not finite"),
        (with_vectors(*ONE_VECTOR[:2], b"\0\x7e"), "are not finite"),
        (with_vectors(ONE_VECTOR[0], b"\0\0\x80\xbf", ONE_VECTOR[2]), "a scale is negative"),
        (b"SCLR\x02" + bytes(MAX_BLOB_BYTES), "too large"),
    ],
)
def test_well_sealed_nonsense_is_refused(blob, message):
    with pytest.raises(SnapshotCorrupt, match=message):
        decode(blob)


def test_the_crafted_body_itself_is_sound():
    assert decode(sealed(msgspec.msgpack.encode(GOOD_BODY))).vectors is None
    packed = decode(with_vectors(*ONE_VECTOR)).vectors
    assert (packed.codes.tolist(), packed.scale.tolist(), packed.bias.tolist()) == (
        [[5]], [[1.0]], [0.0]
    )  # fmt: skip


def test_vectors_that_do_not_fit_the_items_are_never_written():
    packed = pack(np.ones((1, 2), np.float32), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match=r"vectors \(1, 2\) of 2 items"):
        encode(changed(vectors=packed))


def test_a_reader_without_an_item_table_needs_the_vectors():
    packed = pack(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    assert verify(changed(vectors=packed), **READER, vectors=1).vectors is packed
    with pytest.raises(SnapshotRejected, match="lacks its candidates' vectors"):
        verify(GOOD, **READER, vectors=1)


@pytest.mark.parametrize("vectors", [0, 1, 2])
@pytest.mark.parametrize("dim", [1, 64, 1000])
def test_as_many_candidates_as_promised_fit_a_blob(dim, vectors):
    n = most_candidates(dim, vectors=vectors)
    packed = None
    if vectors:
        ones = np.ones((n, dim), np.float32)
        packed = pack(ones, np.zeros(n, np.float32), ones if vectors == 2 else None)
    full = Snapshot(
        user="u" * 128,
        tau=1,
        created_ms=1,
        bundle_id="b" * 16,
        e_sem=np.ones(dim, np.float32),
        items=np.zeros(n, np.int32),
        scores=np.zeros(n, np.float32),
        vectors=packed,
    )
    blob = encode(full)
    each = 8 + (vectors * (dim + 4) + 2 if vectors else 0)
    assert MAX_BLOB_BYTES - 1024 - each <= len(blob) <= MAX_BLOB_BYTES
    assert decode(blob) == full


def two_vectors(n=2, dim=2):
    rng = np.random.default_rng(0)
    vectors, semantic = rng.standard_normal((2, n, dim)).astype(np.float32)
    return pack(vectors, np.ones(n, np.float32), semantic)


def test_two_vectors_of_a_candidate_travel_and_are_told_from_one():
    both = changed(vectors=two_vectors())
    read = decode(encode(both))
    assert (read.vectors.vectors, read.vectors.dim) == (2, 2)
    for found, wanted in zip(read.vectors.unpack(), both.vectors.unpack(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert verify(read, **READER, vectors=2) is read
    assert len(encode(both)) == len(encode(changed(vectors=ONES))) + 2 * (2 + 4)


ONES = pack(np.ones((2, 2), np.float32), np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("packed", "wanted", "message"),
    [
        (ONES, 2, r"1 vector\(s\) of 2 numbers for each candidate, not 2 of 2"),
        (two_vectors(), 1, r"2 vector\(s\) of 2 numbers for each candidate, not 1 of 2"),
        (two_vectors(dim=3), 2, r"2 vector\(s\) of 3 numbers for each candidate, not 2 of 2"),
    ],
)
def test_another_number_of_vectors_is_refused(packed, wanted, message):
    with pytest.raises(SnapshotRejected, match=message):
        verify(changed(vectors=packed), **READER, vectors=wanted)


def test_no_candidates_are_acceptable_whatever_number_of_vectors_they_would_have():
    bare = changed(
        items=np.array([], np.int32), scores=np.array([], np.float32), vectors=two_vectors(0)
    )
    assert len(verify(decode(encode(bare)), **READER, vectors=2).items) == 0


def test_lengths_that_mix_one_and_two_vectors_are_corrupt():
    for vectors in (
        (b"\x05\x05", b"\0\0\x80?", b"\0\0"),  # two vectors, one scale
        (b"\x05", b"\0\0\x80?" * 2, b"\0\0"),  # one vector, two scales
        (b"\x05" * 3, b"\0\0\x80?" * 3, b"\0\0"),  # three of both
    ):
        with pytest.raises(SnapshotCorrupt, match="vectors are not those of 1 items"):
            decode(with_vectors(*vectors))
