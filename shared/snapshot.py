"""Snapshot: what the cloud computed about one user at one step, and its binary codec.

Blob layout (big-endian header, so that Redis can compare versions as plain strings)::

    0   4  magic    b"SCLR"
    4   1  format   codec version, 2
    5   8  version  u64, see ``make_version``
    13  4  crc32    of the whole blob with these four bytes zeroed
    17  .. msgpack  [user, tau, created_ms, bundle_id, e_sem f32 LE, items i32 LE, scores f32 LE,
                     vectors: nil or [codes i8, scales f32 LE, biases f16 LE] of the candidates,
                     one scale per vector: one or two vectors each, as the lengths say]

A blob names its own user, version and bundle, so a reader can refuse what is not meant for it
whatever connection or file it came from.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotCorrupt, SnapshotRejected
from shared.packed import MOST_VECTORS, PackedVectors, row_bytes

MAGIC = b"SCLR"
FORMAT = 2
VERSION_SLICE = slice(5, 13)
MEDIA_TYPE = "application/vnd.scalrec.snapshot"
MAX_BLOB_BYTES = 1 << 20
_HEADER = struct.Struct(">4sBQI")
_CREATED_BITS = 42  # milliseconds until the year 2109
_FRAMING_BYTES = 1024  # more than header, ids and msgpack lengths take


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """S(tau) of SCaLRec eq. 9, as it travels: immutable, one blob.

    Attributes:
        user: the user it belongs to.
        tau: step it was taken at = number of the user's events the abstract had seen.
        created_ms: Unix milliseconds of its computation on the cloud.
        bundle_id: bundle whose projector and item table made it.
        e_sem: [d] float32 semantic user embedding (eq. 3).
        items: [n] int32 candidate item indices of that bundle, best first (eq. 7).
        scores: [n] float32, <e_sem, v'_i> of the candidates, v'_i of the semantic channel.
        vectors: those of the candidates, for a device without an item table; None for the others.
    """

    user: str
    tau: int
    created_ms: int
    bundle_id: str
    e_sem: NDArray[np.float32]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    vectors: PackedVectors | None = None

    @property
    def version(self) -> int:
        return make_version(self.tau, self.created_ms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and encode(self) == encode(other)

    def __hash__(self) -> int:
        return hash((self.user, self.version, self.bundle_id))


class _Body(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    user: str
    tau: int
    created_ms: int
    bundle_id: str
    e_sem: bytes
    items: bytes
    scores: bytes
    vectors: tuple[bytes, bytes, bytes] | None


def make_version(tau: int, created_ms: int) -> int:
    """Order of snapshots of one user: a later step wins, then a later computation.

    Derived from the device's own step rather than counted by the store, so it keeps growing when
    Redis loses its data. Raises ValueError outside 22 bits of steps or 42 bits of milliseconds.
    """
    if not 0 <= tau < 1 << (64 - _CREATED_BITS):
        raise ValueError(f"step {tau} is out of range 0..{(1 << (64 - _CREATED_BITS)) - 1}")
    if not 0 <= created_ms < 1 << _CREATED_BITS:
        raise ValueError(f"created_ms {created_ms} is out of range")
    return tau << _CREATED_BITS | created_ms


def encode(snapshot: Snapshot) -> bytes:
    """The snapshot as one blob. Raises ValueError when its arrays do not fit each other."""
    if len(snapshot.items) != len(snapshot.scores):
        raise ValueError(f"{len(snapshot.items)} items but {len(snapshot.scores)} scores")
    packed = snapshot.vectors
    if packed is not None:
        n, dim, k = len(snapshot.items), len(snapshot.e_sem), packed.vectors
        if packed.codes.shape != (n, k * dim) or not 1 <= k <= MOST_VECTORS:
            raise ValueError(f"vectors {packed.codes.shape} of {n} items, {k} times {dim} d")
    body = msgspec.msgpack.encode(
        _Body(
            snapshot.user,
            snapshot.tau,
            snapshot.created_ms,
            snapshot.bundle_id,
            snapshot.e_sem.astype("<f4").tobytes(),
            snapshot.items.astype("<i4").tobytes(),
            snapshot.scores.astype("<f4").tobytes(),
            None
            if packed is None
            else (
                packed.codes.tobytes(),
                packed.scale.astype("<f4").tobytes(),
                packed.bias.astype("<f2").tobytes(),
            ),
        )
    )
    crc = zlib.crc32(body, zlib.crc32(_HEADER.pack(MAGIC, FORMAT, snapshot.version, 0)))
    return _HEADER.pack(MAGIC, FORMAT, snapshot.version, crc) + body


def decode(blob: bytes) -> Snapshot:
    """Parse and verify a blob; raises SnapshotCorrupt unless every byte is as it was written."""
    if not _HEADER.size < len(blob) <= MAX_BLOB_BYTES:
        raise SnapshotCorrupt(f"snapshot blob of {len(blob)} bytes is truncated or too large")
    magic, fmt, version, crc = _HEADER.unpack_from(blob)
    if magic != MAGIC or fmt != FORMAT:
        raise SnapshotCorrupt(f"not a format-{FORMAT} snapshot blob (starts {blob[:5]!r})")
    body = blob[_HEADER.size :]
    if zlib.crc32(body, zlib.crc32(_HEADER.pack(magic, fmt, version, 0))) != crc:
        raise SnapshotCorrupt("snapshot blob fails its checksum")
    try:
        raw = msgspec.msgpack.decode(body, type=_Body)
        e_sem = np.frombuffer(raw.e_sem, dtype="<f4")
        items = np.frombuffer(raw.items, dtype="<i4")
        snapshot = Snapshot(
            user=raw.user,
            tau=raw.tau,
            created_ms=raw.created_ms,
            bundle_id=raw.bundle_id,
            e_sem=e_sem,
            items=items,
            scores=np.frombuffer(raw.scores, dtype="<f4"),
            vectors=None if raw.vectors is None else _vectors(raw.vectors, len(items), len(e_sem)),
        )
        consistent = snapshot.version == version and len(snapshot.items) == len(snapshot.scores)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SnapshotCorrupt(f"snapshot blob has a malformed body: {error}") from error
    if not consistent:
        raise SnapshotCorrupt("snapshot blob contradicts its own header")
    if not np.isfinite(snapshot.e_sem).all() or not np.isfinite(snapshot.scores).all():
        raise SnapshotCorrupt("snapshot holds values that are not finite")
    return snapshot


def _vectors(raw: tuple[bytes, bytes, bytes], n: int, dim: int) -> PackedVectors:
    """Views of what the blob holds; raises ValueError unless they are one or two vectors of
    ``dim`` for each of n items."""
    codes, scales, biases = raw
    k = min(MOST_VECTORS, max(1, len(scales) // (4 * n))) if n else 1
    if (len(codes), len(scales), len(biases)) != (n * k * dim, 4 * n * k, 2 * n):
        raise ValueError(f"its vectors are not those of {n} items in {dim} dimensions")
    packed = PackedVectors(
        np.frombuffer(codes, dtype=np.int8).reshape(n, k * dim),
        np.frombuffer(scales, dtype="<f4").reshape(n, k),
        np.frombuffer(biases, dtype="<f2"),
    )
    packed.check()
    return packed


def most_candidates(dim: int, *, vectors: int) -> int:
    """Candidates that a blob within MAX_BLOB_BYTES surely holds, with so many vectors of each."""
    each = 4 + 4 + (row_bytes(dim, vectors) if vectors else 0)
    return (MAX_BLOB_BYTES - _FRAMING_BYTES - 4 * dim) // each


def verify(
    snapshot: Snapshot,
    *,
    user: str,
    bundle_id: str,
    dim: int,
    n_items: int,
    vectors: int = 0,
    newer_than: int | None = None,
) -> Snapshot:
    """Return the snapshot if this reader may use it, else raise SnapshotRejected saying why.

    Args:
        user: the only user whose snapshot is acceptable.
        bundle_id: the only acceptable bundle.
        dim: embedding size d of that bundle.
        n_items: items of that bundle; candidate indices must lie below.
        vectors: how many of each candidate must be there, for want of an item table; 0: none.
        newer_than: a version that must be exceeded, e.g. that of the cached snapshot.
    """
    if snapshot.user != user:
        raise SnapshotRejected("snapshot belongs to another user")
    if snapshot.bundle_id != bundle_id:
        raise SnapshotRejected(f"snapshot is of bundle {snapshot.bundle_id}, not {bundle_id}")
    if newer_than is not None and snapshot.version <= newer_than:
        raise SnapshotRejected(f"snapshot of step {snapshot.tau} is not newer than the cached one")
    if snapshot.e_sem.shape != (dim,):
        raise SnapshotRejected(f"snapshot embedding has {len(snapshot.e_sem)} dims, not {dim}")
    if not np.any(snapshot.e_sem):
        raise SnapshotRejected("snapshot embedding is all zeros")
    if len(snapshot.items) and not 0 <= snapshot.items.min() <= snapshot.items.max() < n_items:
        raise SnapshotRejected("snapshot names items that the bundle does not hold")
    if vectors:
        packed = snapshot.vectors
        if packed is None:
            raise SnapshotRejected(
                "snapshot lacks its candidates' vectors, and there is no item table"
            )
        if len(packed) and (packed.vectors, packed.dim) != (vectors, dim):
            raise SnapshotRejected(
                f"snapshot brings {packed.vectors} vector(s) of {packed.dim} numbers for each "
                f"candidate, not {vectors} of {dim} as this bundle's items have"
            )
    return snapshot
