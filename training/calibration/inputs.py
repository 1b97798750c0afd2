"""What estimator and calibrator read of a request and an older snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state.cues import CUES
from training.calibration.pairs import Pairs, pair_cues, recent_means
from training.semantic.requests import Requests


@dataclass(frozen=True, eq=False)
class Inputs:
    """Of P pairs.

    Attributes:
        cues: [P, 8] raw, in the device's order.
        stale: [P, d] e_sem(tau).
        parts: of the calibrator, in the order of its ``inputs``.
    """

    cues: Tensor
    stale: Tensor
    parts: tuple[Tensor, ...]

    @property
    def ages(self) -> NDArray[np.int64]:
        """[P] t - tau, events."""
        return self.cues[:, CUES.index("delta")].numpy().astype(np.int64)

    @property
    def moved(self) -> NDArray[np.bool_]:
        """[P] whether a new session began since the snapshot."""
        since: NDArray[np.bool_] = self.cues[:, CUES.index("moved")].numpy() > 0
        return since

    def rows(self, index: Tensor) -> Inputs:
        return Inputs(self.cues[index], self.stale[index], tuple(p[index] for p in self.parts))


def make_inputs(
    requests: Requests,
    pairs: Pairs,
    e_sem: Tensor,
    candidates: Tensor,
    names: Sequence[str],
    *,
    window: int,
    top_l: int,
    listed: NDArray[np.int64] | None = None,
) -> Inputs:
    """Gather them for every pair.

    Args:
        e_sem: [A, d] and candidates [A, N] at every anchor of ``requests``.
        names: inputs of the calibrator.
        window, top_l, listed: as for ``pair_cues``.
    """
    fresh, stale = torch.from_numpy(pairs.fresh), torch.from_numpy(pairs.stale)
    cues = pair_cues(requests, pairs, e_sem, candidates, window=window, top_l=top_l, listed=listed)
    known = {
        "e_sem": e_sem[stale],
        "e_str": requests.e_str[fresh],
        "e_str_tau": requests.e_str[stale],
        "cues": cues,
    }
    if requests.own is not None and requests.own.text is not None:
        known["e_text"] = requests.own.text[fresh]
    if "recent" in names:
        known["recent"] = recent_means(requests, pairs, window)
    return Inputs(cues, known["e_sem"], tuple(known[name] for name in names))
