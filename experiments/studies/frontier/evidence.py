"""Evidence: what every request of a window would come to with every snapshot it could hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.studies.frontier.pair_evidence import pair_evidence
from experiments.studies.frontier.windows import LastSteps
from shared.progress import Progress
from training.calibration.pairs import Pairs
from training.stages.forms import Saved, load_arrays, save_arrays
from training.twin import Twin

NEVER = np.float32(np.nan)  # above the diagonal: a snapshot of later than the request


@dataclass(frozen=True, eq=False)
class Evidence:
    """Matrices over request j (rows) and the request i <= j whose moment a snapshot is of.

    Attributes:
        stale, calibrated: [U, T, T] expected rank of the target.
        cues: [U, T, T, 8]; r, inconsistency: [U, T, T]. NaN above the diagonal.
        alone: [U, T] rank without any snapshot.
    """

    stale: NDArray[np.float32]
    calibrated: NDArray[np.float32]
    cues: NDArray[np.float32]
    r: NDArray[np.float32]
    inconsistency: NDArray[np.float32]
    alone: NDArray[np.float32]

    def ranks(self, *, calibrated: bool) -> NDArray[np.float32]:
        return self.calibrated if calibrated else self.stale


def collect(twin: Twin, windows: LastSteps, progress: Progress) -> Evidence:
    """Evaluate all pairs of a window; ``twin.requests`` has its steps as anchors, in order."""
    users, length = len(windows.user), windows.length
    later, earlier = np.tril_indices(length)
    base = (np.arange(users) * length)[:, None]
    pairs = Pairs((base + later).ravel().astype(np.int64), (base + earlier).ravel())
    with progress.task("judging every snapshot at every request", users * length) as task:
        found = pair_evidence(twin, pairs, task)
    return Evidence(
        **{name: _spread(values, users, length) for name, values in vars(found).items()},
        alone=twin.ranks_alone().astype(np.float32).reshape(users, length),
    )


def _spread(values: NDArray[np.float32], users: int, length: int) -> NDArray[np.float32]:
    """[U * T (T + 1) / 2, ...] in the order of the pairs -> [U, T, T, ...]."""
    whole = np.full((users, length, length, *values.shape[1:]), NEVER, dtype=np.float32)
    whole[:, *np.tril_indices(length)] = values.reshape(users, -1, *values.shape[1:])
    return whole


def _save(evidence: Evidence, folder: Path) -> None:
    save_arrays(folder, vars(evidence))


def _load(folder: Path) -> Evidence:
    arrays, _ = load_arrays(folder)
    return Evidence(**arrays)


FORM = Saved(_save, _load)
