"""What a device would answer, and know, at pairs of a request and an older snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from device_runtime.state.cues import SHOWN
from shared.metrics import Ranks
from shared.progress import Task
from training.calibration.pairs import Pairs
from training.twin import Twin

ROWS = 512  # requests evaluated together


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """Of P pairs, in their order.

    Attributes:
        stale: [P] rank of the target with the snapshot at face value, among the items the device
            ranks.
        calibrated: [P] the same with correction and age rules.
        cues: [P, 8] raw, in the device's order.
        r: [P] estimated reliability.
        inconsistency: [P] in positions (see ``device_runtime.state.cues``).
        inconsistency_top: [P] the same over the first of either ranking.
    """

    stale: Ranks
    calibrated: Ranks
    cues: NDArray[np.float32]
    r: NDArray[np.float32]
    inconsistency: NDArray[np.float32]
    inconsistency_top: NDArray[np.float32]

    @staticmethod
    def joined(parts: list[PairEvidence]) -> PairEvidence:
        names = ("stale", "calibrated", "cues", "r", "inconsistency", "inconsistency_top")
        return PairEvidence(
            **{name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
        )


@torch.no_grad()
def pair_evidence(twin: Twin, pairs: Pairs, task: Task | None = None) -> PairEvidence:
    """Evaluate pairs that are sorted by request.

    Ranks are those of the running system: a snapshot's candidates united with the user's own
    history as profile and repeat policy say; the whole catalogue where the device re-retrieves.
    """
    parts = []
    for chunk in _chunks(pairs):
        parts.append(_evaluate(twin, chunk))
        if task is not None:
            task.advance(len(np.unique(chunk.fresh)))
    return PairEvidence.joined(parts)


def _chunks(pairs: Pairs) -> Iterator[Pairs]:
    """Pairs of ROWS requests at a time."""
    requests, first = np.unique(pairs.fresh, return_index=True)
    bounds = [*first[::ROWS].tolist(), len(pairs)]
    if len(requests) and np.any(np.diff(pairs.fresh) < 0):
        raise ValueError("pairs must be sorted by request")
    for start, stop in pairwise(bounds):
        yield pairs[np.arange(start, stop)]


def _evaluate(twin: Twin, pairs: Pairs) -> PairEvidence:
    inputs = twin.inputs(pairs)
    trusted, r = twin.trusted(inputs)
    stale, calibrated = twin.ranks(pairs, inputs.stale, trusted)
    return PairEvidence(
        stale=stale,
        calibrated=calibrated,
        cues=inputs.cues.numpy(),
        r=r.numpy(),
        inconsistency=twin.inconsistency(pairs).astype(np.float32),
        inconsistency_top=twin.inconsistency(pairs, top=SHOWN).astype(np.float32),
    )
