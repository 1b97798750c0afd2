"""The seam through which controlled experiments get snapshots of any age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.split import Steps, stale_tau


class SnapshotSource(Protocol):
    """What the cloud would have computed at any step; made of the cloud's own parts."""

    def e_sem(self, user: int, tau: int) -> NDArray[np.float32]:
        """[d] semantic embedding of the abstract written when ``tau`` events were known."""

    def candidates(
        self, e_sem: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """[N] items and scores of eq. 7, best first, for e_sem [d]."""


def snapshot_step(step: int, gap: int) -> int:
    """tau of a snapshot ``gap`` events old at ``step``; never before MIN_HISTORY events."""
    return int(stale_tau(np.asarray(step), gap))


def snapshots_needed(steps: Steps, gaps: Sequence[int]) -> list[tuple[int, int]]:
    """Every (user, tau) an experiment will ask for, sorted: a source may embed them in bulk."""
    return sorted(
        {
            (user, snapshot_step(step, gap))
            for user, step in zip(steps.user.tolist(), steps.step.tolist(), strict=True)
            for gap in (0, *gaps)
        }
    )
