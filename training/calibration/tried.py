"""The networks of the best trained epoch, kept to be looked at where none of them helped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.calibration.inputs import Inputs
from training.calibration.networks import Calibrator, Estimator, correction
from training.learning import Judged, Weights, copied


@dataclass(frozen=True, eq=False)
class TriedNetworks:
    """Estimator and calibrator in eval mode, and the radius they were fitted with."""

    estimator: Estimator
    calibrator: Calibrator
    radius: float

    @torch.no_grad()
    def correct(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Corrected embedding [P, d] (eqs. 11-14) and r [P]; no age rule is applied."""
        r = inputs.reliability(self.estimator)
        return inputs.stale + correction(self.calibrator(*inputs.parts), 1.0 - r, self.radius), r


@dataclass(eq=False)
class BestTrained:
    """Weights of the trained epoch with the highest score; of no epoch yet.

    The fit itself also counts the untouched snapshot among its epochs, and keeps the networks it
    began with where nothing beats that. An ablation of those ablates nothing.
    """

    weights: Weights
    best: Weights | None = field(default=None, init=False)
    _score: float = field(default=float("-inf"), init=False)

    def watching(self, judge: Callable[[], Judged]) -> Callable[[], Judged]:
        """``judge`` of an epoch, which is remembered if it is the best so far."""

        def judged() -> Judged:
            found = judge()
            if not found.score <= self._score:  # without a score the last one, as in ``best_of``
                self.best, self._score = copied(self.weights), found.score
            return found

        return judged
