"""Blobs for tests of what keeps them."""

from __future__ import annotations

import numpy as np

from shared.snapshot import Snapshot, encode

BUNDLE = "9f2c1a7be04d5533"


def blob_of(user: str, tau: int, created_ms: int = 1_700_000_000_000) -> bytes:
    """The blob of a user at a step: the same bytes each time."""
    rng = np.random.default_rng(tau)
    return encode(
        Snapshot(
            user=user,
            tau=tau,
            created_ms=created_ms,
            bundle_id=BUNDLE,
            e_sem=rng.standard_normal(64).astype(np.float32),
            items=np.arange(100, dtype=np.int32),
            scores=rng.standard_normal(100).astype(np.float32),
        )
    )
