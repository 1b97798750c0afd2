"""CachedSnapshot: what a device holds of a refresh, and how it is written to disk.

File layout (big-endian header)::

    0   4  magic    b"SCLC"
    4   1  format   1
    5   4  crc32    of the whole file with these four bytes zeroed
    9   4  length   of the snapshot blob
    13  .. blob     see shared.snapshot
    ..  .. e_str    f32 LE, e_str(tau) computed on this device; empty when there is none
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotCorrupt, SnapshotRejected
from shared.snapshot import Snapshot, decode, encode, verify

_MAGIC = b"SCLC"
_FORMAT = 1
_HEADER = struct.Struct(">4sBII")


@dataclass(frozen=True, slots=True, eq=False)
class CachedSnapshot:
    """S(tau) of SCaLRec eq. 9 as a device holds it; immutable.

    Attributes:
        snapshot: what the cloud sent.
        e_str: [d] float32 e_str(tau). None when there was no history to encode at tau; it cannot
            be recomputed later, so drift is then reported as 0.
    """

    snapshot: Snapshot
    e_str: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Whose snapshot it must be, and what bundle it must fit.

    ``vectors`` says how many of each candidate its snapshots must bring: 0 with an item table.
    """

    user: str
    bundle_id: str
    dim: int
    n_items: int
    vectors: int = 0


def encode_entry(cached: CachedSnapshot) -> bytes:
    """The entry as one file."""
    blob = encode(cached.snapshot)
    e_str = b"" if cached.e_str is None else cached.e_str.astype("<f4").tobytes()
    crc = zlib.crc32(blob + e_str, zlib.crc32(_HEADER.pack(_MAGIC, _FORMAT, 0, len(blob))))
    return _HEADER.pack(_MAGIC, _FORMAT, crc, len(blob)) + blob + e_str


def decode_entry(data: bytes) -> CachedSnapshot:
    """Parse an entry; raises SnapshotCorrupt unless every byte is as it was written."""
    if len(data) < _HEADER.size:
        raise SnapshotCorrupt(f"cache entry of {len(data)} bytes is truncated")
    magic, fmt, crc, length = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if magic != _MAGIC or fmt != _FORMAT:
        raise SnapshotCorrupt(f"not a format-{_FORMAT} cache entry (starts {data[:5]!r})")
    if zlib.crc32(body, zlib.crc32(_HEADER.pack(magic, fmt, 0, length))) != crc:
        raise SnapshotCorrupt("cache entry fails its checksum")
    if length > len(body) or (len(body) - length) % 4:
        raise SnapshotCorrupt("cache entry contradicts its own header")
    e_str = np.frombuffer(body[length:], dtype="<f4")
    return CachedSnapshot(decode(body[:length]), e_str if len(e_str) else None)


def check_entry(
    cached: CachedSnapshot, key: CacheKey, *, newer_than: int | None = None
) -> CachedSnapshot:
    """Return the entry if ``key`` may use it, else raise SnapshotRejected saying why."""
    verify(
        cached.snapshot,
        user=key.user,
        bundle_id=key.bundle_id,
        dim=key.dim,
        n_items=key.n_items,
        vectors=key.vectors,
        newer_than=newer_than,
    )
    e_str = cached.e_str
    if e_str is not None and (e_str.shape != (key.dim,) or not np.isfinite(e_str).all()):
        raise SnapshotRejected("cached structural embedding has another size or is not finite")
    return cached
