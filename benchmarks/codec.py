"""Snapshot blob against JSON: bytes, and time to encode and decode."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.timing import BenchmarkLine, interleaved
from shared.schemas import SnapshotResponse
from shared.snapshot import Snapshot, decode, encode

NOW_MS = 1_700_000_000_000


def compare_codec(*, dim: int = 64, candidates: int = 100) -> list[BenchmarkLine]:
    """Compare with the JSON the service itself can answer, through the standard library."""
    rng = np.random.default_rng(0)
    snapshot = Snapshot(
        user="user-1",
        tau=42,
        created_ms=NOW_MS,
        bundle_id="0123456789abcdef",
        e_sem=rng.standard_normal(dim, dtype=np.float32),
        items=rng.permutation(5000)[:candidates].astype(np.int32),
        scores=np.sort(rng.standard_normal(candidates, dtype=np.float32))[::-1].copy(),
    )
    fields = SnapshotResponse.of(snapshot, stale=False, age_s=0.0).model_dump()
    blob, text = encode(snapshot), json.dumps(fields)

    def encode_json() -> str:
        return json.dumps(fields | {"items": snapshot.items.tolist()})

    encoding = interleaved(lambda: encode(snapshot), encode_json)
    decoding = interleaved(lambda: decode(blob), lambda: json.loads(text))
    size = BenchmarkLine(
        name="snapshot size, blob / JSON",
        ours=len(blob),
        theirs=len(text),
        unit="bytes",
        ratio=len(blob) / len(text),
        meaning="lower",
    )
    return [
        size,
        BenchmarkLine.timed("snapshot encode, blob / JSON", encoding, "lower"),
        BenchmarkLine.timed("snapshot decode + checksum, blob / JSON", decoding, "lower"),
    ]
