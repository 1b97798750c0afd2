"""Planner: which plan a situation calls for, learned from what each plan was worth.

One ridge regression a plan predicts its NDCG@10 from the situation, and the policy takes the plan
with the highest prediction. CDA4Rec (arXiv 2509.01551) lets a language model reason instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.baselines.cda4rec.plans import PLANS
from training.baselines.remedies.ridge import PENALTIES, LinearCorrector, ridge_path

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Planner:
    """argmax over plans of offset + ((x - mean) / spread) W.

    Attributes:
        mean, spread: [F] of the features it was fitted on; a constant one has the spread 1.
        predictor: from F standardised features to the gains of the plans.
    """

    mean: Floats
    spread: Floats
    predictor: LinearCorrector

    @property
    def parameters(self) -> int:
        return self.predictor.weights.size + self.predictor.offset.size

    def predicted(self, x: Floats) -> Floats:
        """[R, 5] NDCG@10 that each plan is expected to have, for features [R, F]."""
        found: Floats = (x - self.mean) / self.spread @ self.predictor.weights
        return found + self.predictor.offset

    def choose(self, x: Floats) -> NDArray[np.int64]:
        """[R] places in PLANS; of equally good plans the first."""
        chosen: NDArray[np.int64] = self.predicted(x).argmax(1)
        return chosen


def fit_planner(
    block: tuple[Floats, Floats],
    validation: tuple[Floats, Floats],
    penalties: Sequence[float] = PENALTIES,
) -> Planner:
    """The penalty whose choices earn most on validation; of equal ones the greatest.

    Args:
        block: features [P, F] and gains [P, 5] of pairs whose targets no model was trained on.
        validation: the same of validation pairs.

    Raises:
        ValueError: there are no pairs, or ``gains`` are not of PLANS.
    """
    x, gains = block
    if gains.shape != (len(x), len(PLANS)):
        raise ValueError(f"gains are {gains.shape}, expected {(len(x), len(PLANS))}")
    if len(x) == 0:
        raise ValueError("a planner needs a pair to be fitted on")
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    tried = [
        Planner(mean, spread, one)
        for one in ridge_path((x - mean) / spread, gains, sorted(penalties, reverse=True))
    ]
    return max(tried, key=lambda planner: earned(planner.choose(validation[0]), validation[1]))


def earned(plans: NDArray[np.int64], gains: Floats) -> float:
    """Mean gain of the plans [P] that were chosen, of gains [P, 5]; 0 without pairs."""
    return float(gains[np.arange(len(plans)), plans].mean()) if len(plans) else 0.0
