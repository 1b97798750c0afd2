"""What estimator and calibrator read of a request and an older snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state.cues import CUES
from training.calibration.networks import WORDS_INPUT, Estimator
from training.calibration.pairs import Pairs, pair_cues, recent_means
from training.semantic.requests import Requests


@dataclass(frozen=True, eq=False)
class Inputs:
    """Of P pairs.

    Attributes:
        cues: [P, 8] raw, in the device's order.
        stale: [P, d] e_sem(tau).
        parts: of the calibrator, in the order of its ``inputs``.
        words: [P, d] e_text(t); None where devices have no text student.
    """

    cues: Tensor
    stale: Tensor
    parts: tuple[Tensor, ...]
    words: Tensor | None = None

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
        parts = tuple(part[index] for part in self.parts)
        words = None if self.words is None else self.words[index]
        return Inputs(self.cues[index], self.stale[index], parts, words)

    def reliability(self, estimator: Estimator) -> Tensor:
        """r [P] of eq. 11; raises as ``normalise``."""
        read: Tensor = estimator(*self._of(estimator))
        return read

    def normalise(self, estimator: Estimator, ignored: Sequence[int] = ()) -> None:
        """Let ``estimator`` take means and deviations of these pairs.

        Args:
            ignored: places of cues that are not to be looked at.

        Raises:
            ValueError: the estimator reads words, and there are none.
        """
        estimator.fit_normaliser(*self._of(estimator), ignored=ignored)

    def _of(self, estimator: Estimator) -> list[Tensor]:
        if WORDS_INPUT not in estimator.inputs:
            return [self.cues]
        if self.words is None:
            raise ValueError("the estimator reads words, and these pairs were made without any")
        return [self.cues, self.stale, self.words]


def joined(several: Sequence[Inputs]) -> Inputs:
    """Of the pairs of all of them, one after the other; all have words or none has."""
    words = [one.words for one in several if one.words is not None]
    return Inputs(
        torch.cat([one.cues for one in several]),
        torch.cat([one.stale for one in several]),
        tuple(torch.cat(parts) for parts in zip(*(one.parts for one in several), strict=True)),
        torch.cat(words) if len(words) == len(several) else None,
    )


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
        known[WORDS_INPUT] = requests.own.text[fresh]
    if "recent" in names:
        known["recent"] = recent_means(requests, pairs, window)
    return Inputs(
        cues, known["e_sem"], tuple(known[name] for name in names), known.get(WORDS_INPUT)
    )
