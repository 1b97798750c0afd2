"""Judge: what corrections are worth on validation steps, ranking all items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import AgeRule
from training.calibration.age_rules import trusted
from training.calibration.pairs import Pairs
from training.semantic.held_out import HeldOut
from training.semantic.requests import Requests


@dataclass(frozen=True)
class GapFigures:
    """Validation NDCG@10 at one gap over all items."""

    structure: float
    fresh: float
    stale: float  # the cached embedding as it is
    calibrated: float  # under the rule of that age


class Judge:
    """Validation NDCG@10 per gap; structural scores are computed once.

    Args:
        e_sem: [A, d] semantic embedding at every anchor.
        gaps: gap -> validation pairs, the same requests at every gap.
    """

    def __init__(
        self,
        requests: Requests,
        e_sem: Tensor,
        gaps: Mapping[int, Pairs],
        fusion_weight: float,
        *,
        exclude_seen: bool,
    ) -> None:
        self.requests, self.e_sem, self.fusion_weight = requests, e_sem, fusion_weight
        rows = next(iter(gaps.values())).fresh if gaps else np.empty(0, dtype=np.int64)
        self.held = HeldOut(requests, rows, exclude_seen=exclude_seen)
        self.pairs = {gap: pairs[self.held.kept] for gap, pairs in gaps.items()}

    def scores(self, gap: int, e_sem: Tensor, scale: float) -> NDArray[np.float64]:
        """[P] NDCG@10 of s_str + scale * w * <e_sem, v_i> for e_sem [P, d]."""
        return self.held.ndcg10(e_sem, scale * self.fusion_weight)

    def score(self, gap: int, e_sem: Tensor, scale: float) -> float:
        """Mean of ``scores``; 0 without requests."""
        return self.held.mean(e_sem, scale * self.fusion_weight)

    def moved(self, gap: int) -> NDArray[np.bool_]:
        """[P] whether a new session began between snapshot and request."""
        pairs, anchors = self.pairs[gap], self.requests.anchors
        first = self.requests.events.user_start[anchors.user[pairs.fresh]]
        session = self.requests.session
        now = session[first + anchors.tau[pairs.fresh]]
        differs: NDArray[np.bool_] = now != session[first + anchors.tau[pairs.stale]]
        return differs

    def ages(self, gap: int) -> NDArray[np.int64]:
        """[P] events since the snapshot: ``gap``, or fewer where the history is short."""
        tau, pairs = self.requests.anchors.tau, self.pairs[gap]
        ages: NDArray[np.int64] = tau[pairs.fresh] - tau[pairs.stale]
        return ages

    def users(self, gap: int) -> NDArray[np.int64]:
        """[P] whose request it is."""
        return self.requests.anchors.user[self.pairs[gap].fresh]

    def stale_embedding(self, gap: int) -> Tensor:
        return self.e_sem[torch.from_numpy(self.pairs[gap].stale)]

    def ndcg(self, embeddings: Mapping[int, Tensor]) -> dict[int, float]:
        return {gap: self.score(gap, e, 1.0) for gap, e in embeddings.items()}

    def stale(self) -> dict[int, float]:
        return self.ndcg({gap: self.stale_embedding(gap) for gap in self.pairs})

    def mean(self, figures: Mapping[int, float]) -> float:
        return float(np.mean(list(figures.values()))) if figures else 0.0

    def report(
        self, corrected: Mapping[int, Tensor], rules: tuple[AgeRule, ...]
    ) -> dict[int, GapFigures]:
        found = {}
        for gap in self.pairs:
            stale = self.stale_embedding(gap)
            ruled = trusted(rules, self.ages(gap), self.moved(gap), corrected[gap], stale)
            fresh = self.e_sem[torch.from_numpy(self.pairs[gap].fresh)]
            found[gap] = GapFigures(
                structure=self.score(gap, stale, 0.0),
                fresh=self.score(gap, fresh, 1.0),
                stale=self.score(gap, stale, 1.0),
                calibrated=self.score(gap, ruled, 1.0),
            )
        return found
