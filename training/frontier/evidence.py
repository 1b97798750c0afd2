"""Evidence: what every request of a window would come to with every snapshot it could hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.progress import Progress
from training.frontier.pair_evidence import Judged, PairEvidence, pair_evidence
from training.frontier.windows import Windows
from training.pairs import Pairs
from training.stages.forms import Saved, load_arrays, save_arrays

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


def collect(
    judged: Judged, windows: Windows, popularity: NDArray[np.float32], progress: Progress
) -> Evidence:
    """Evaluate all pairs of a window; ``judged.requests`` has its steps as anchors, in order."""
    users, length = len(windows.user), windows.length
    later, earlier = np.tril_indices(length)
    base = (np.arange(users) * length)[:, None]
    pairs = Pairs((base + later).ravel().astype(np.int64), (base + earlier).ravel())
    with progress.task("judging every snapshot at every request", users * length) as task:
        found = pair_evidence(judged, pairs, task)
    return Evidence(
        **{name: _spread(values, users, length) for name, values in _columns(found).items()},
        alone=_alone(judged, popularity).reshape(users, length),
    )


def _columns(found: PairEvidence) -> dict[str, NDArray[np.float32]]:
    return {
        "stale": found.stale,
        "calibrated": found.calibrated,
        "cues": found.cues,
        "r": found.r,
        "inconsistency": found.inconsistency,
    }


def _spread(values: NDArray[np.float32], users: int, length: int) -> NDArray[np.float32]:
    """[U * T (T + 1) / 2, ...] in the order of the pairs -> [U, T, T, ...]."""
    whole = np.full((users, length, length, *values.shape[1:]), NEVER, dtype=np.float32)
    whole[:, *np.tril_indices(length)] = values.reshape(users, -1, *values.shape[1:])
    return whole


@torch.no_grad()
def _alone(judged: Judged, popularity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ranks by structure, as a device without a snapshot has them: of its table's items, or of its
    history and the popular items that came with the models."""
    requests, profile = judged.requests, judged.profile
    popular = torch.from_numpy(np.argsort(-popularity, kind="stable")[: profile.starter_items])
    found = []
    for index in torch.split(torch.arange(len(requests)), 64):
        scores = requests.structural(index)
        own = scores.gather(1, requests.target[index][:, None])
        seen = torch.zeros(scores.shape, dtype=torch.bool)
        seen[requests.seen(index)] = True
        allowed = torch.ones_like(seen)
        if profile.table == "none":
            allowed = torch.zeros_like(seen)
            allowed[:, popular] = True
            if not judged.exclude_seen:
                allowed |= seen
        if judged.exclude_seen:
            allowed &= ~seen
        rank = ((scores > own) & allowed).sum(1).double()
        rank += (((scores == own) & allowed).sum(1).double() + 1.0) / 2.0
        rank[~allowed.gather(1, requests.target[index][:, None])[:, 0]] = torch.inf
        found.append(rank.float().numpy())
    return np.concatenate(found)


def _save(evidence: Evidence, folder: Path) -> None:
    save_arrays(folder, vars(evidence))


def _load(folder: Path) -> Evidence:
    arrays, _ = load_arrays(folder)
    return Evidence(**arrays)


FORM = Saved(_save, _load)
