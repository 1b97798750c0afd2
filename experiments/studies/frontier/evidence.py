"""Evidence: what every request of a window would come to with every snapshot it could hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.studies.frontier.pair_evidence import pair_evidence
from experiments.studies.frontier.windows import LastSteps
from shared.metrics import RANK, Ranks, as_ranks
from shared.progress import Progress
from training.calibration.pairs import Pairs
from training.stages.forms import Saved, load_arrays, save_arrays
from training.twin import Twin

NEVER = np.float32(np.nan)  # above the diagonal: a snapshot of later than the request
_RANKED = ("stale", "calibrated", "alone")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Matrices over request j (rows) and the request i <= j whose moment a snapshot is of.

    Attributes:
        stale, calibrated: [U, T, T] rank of the target.
        cues: [U, T, T, 8]; r, inconsistency, inconsistency_top: [U, T, T]. NaN above the diagonal.
        alone: [U, T] rank without any snapshot.
    """

    stale: Ranks
    calibrated: Ranks
    cues: NDArray[np.float32]
    r: NDArray[np.float32]
    inconsistency: NDArray[np.float32]
    inconsistency_top: NDArray[np.float32]
    alone: Ranks

    def ranks(self, *, calibrated: bool) -> Ranks:
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
        alone=twin.ranks_alone().reshape(users, length),
    )


def _spread(values: NDArray[Any], users: int, length: int) -> NDArray[Any]:
    """[U * T (T + 1) / 2, ...] in the order of the pairs -> [U, T, T, ...]."""
    never = as_ranks(NEVER) if values.dtype == RANK else NEVER
    whole = np.full((users, length, length, *values.shape[1:]), never, dtype=values.dtype)
    whole[:, *np.tril_indices(length)] = values.reshape(users, -1, *values.shape[1:])
    return whole


def _save(evidence: Evidence, folder: Path) -> None:
    plain = dict(vars(evidence))
    for name in _RANKED:
        ranks = plain.pop(name)
        plain |= {f"{name}.{part}": ranks[part] for part in RANK.names or ()}
    save_arrays(folder, plain)


def _load(folder: Path) -> Evidence:
    arrays, _ = load_arrays(folder)
    for name in _RANKED:
        arrays[name] = as_ranks(arrays.pop(f"{name}.expected"), arrays.pop(f"{name}.tied"))
    return Evidence(**arrays)


FORM = Saved(_save, _load)
