"""Blobs with a right checksum and a wrong body: decoded, or SnapshotCorrupt, and nothing else."""

from __future__ import annotations

import contextlib
import zlib

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SnapshotCorrupt, SnapshotRejected
from shared.snapshot import MAX_BLOB_BYTES, Snapshot, decode, encode, verify

CRC = slice(13, 17)  # see the layout in shared/snapshot.py
BODY = 17
ONE = Snapshot(
    user="ada",
    tau=3,
    created_ms=1,
    bundle_id="b",
    e_sem=np.ones(4, dtype=np.float32),
    items=np.arange(3, dtype=np.int32),
    scores=np.ones(3, dtype=np.float32),
)


def sealed(header: bytes, body: bytes) -> bytes:
    """A blob whose checksum is right, whatever its body is."""
    blank = header[: CRC.start] + bytes(4)
    crc = zlib.crc32(body, zlib.crc32(blank))
    return blank[: CRC.start] + crc.to_bytes(4, "big") + body


def header(version: int) -> bytes:
    return encode(ONE)[:5] + version.to_bytes(8, "big") + bytes(4)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
versions = st.integers(0, (1 << 64) - 1)


def test_the_seal_is_the_codecs_own() -> None:
    blob = encode(ONE)
    assert sealed(blob[:BODY], blob[BODY:]) == blob


def read(blob: bytes) -> None:
    """As every reader does: decode, then verify."""
    with contextlib.suppress(SnapshotCorrupt, SnapshotRejected):
        verify(decode(blob), user="ada", bundle_id="b", dim=4, n_items=3)


@given(versions, values)
def test_any_message_in_place_of_the_body(version: int, value: object) -> None:
    read(sealed(header(version), msgspec.msgpack.encode(value)))


@given(st.data())
def test_any_field_replaced_by_anything(data: st.DataObject) -> None:
    fields = msgspec.msgpack.decode(encode(ONE)[BODY:])
    place = data.draw(st.integers(0, len(fields) - 1))
    fields[place] = data.draw(values)
    read(sealed(header(ONE.version), msgspec.msgpack.encode(fields)))


@given(versions, st.binary(max_size=300))
def test_any_bytes_in_place_of_the_body(version: int, body: bytes) -> None:
    read(sealed(header(version), body))


@given(st.data())
def test_any_byte_of_the_body_replaced(data: st.DataObject) -> None:
    blob = bytearray(encode(ONE))
    place = data.draw(st.integers(BODY, len(blob) - 1))
    blob[place] = data.draw(st.integers(0, 255))
    read(sealed(bytes(blob[:BODY]), bytes(blob[BODY:])))


def test_a_message_that_announces_more_than_it_holds() -> None:
    for announced in (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x97" * 2000):
        read(sealed(header(ONE.version), announced))
    read(bytes(MAX_BLOB_BYTES + 1))
