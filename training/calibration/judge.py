"""Judge: what corrections are worth on validation steps, under the ranking that is served."""

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
from training.pools import Ranked
from training.semantic.held_out import HeldOut
from training.semantic.requests import Requests


@dataclass(frozen=True)
class GapFigures:
    """NDCG@10 at one gap on the validation steps that calibration was chosen on."""

    own: float  # of the device without the cloud's embedding
    fresh: float
    stale: float  # the cached embedding as it is
    calibrated: float  # under the rule of that age


class Judge:
    """Validation NDCG@10 per gap; own scores are computed once.

    Args:
        e_sem: [A, d] semantic embedding at every anchor.
        gaps: gap -> validation pairs, the same requests at every gap.
        ranked: what is ranked; None: the whole catalogue.
        fresh_list: the fresh candidates are ranked at every gap (the paper's S1).
    """

    def __init__(
        self,
        requests: Requests,
        e_sem: Tensor,
        gaps: Mapping[int, Pairs],
        fusion_weight: float,
        *,
        exclude_seen: bool,
        ranked: Ranked | None = None,
        fresh_list: bool = False,
    ) -> None:
        self.requests, self.e_sem, self.fusion_weight = requests, e_sem, fusion_weight
        self._held: dict[int, HeldOut] = {}
        self.pairs: dict[int, Pairs] = {}
        same: HeldOut | None = None
        for gap, pairs in gaps.items():
            listed = pairs.fresh if fresh_list else pairs.stale
            pool = None if ranked is None else ranked.pool(requests, pairs.fresh, listed)
            if same is None or (pool is not None and not fresh_list):
                same = HeldOut(requests, pairs.fresh, exclude_seen=exclude_seen, pool=pool)
            self._held[gap], self.pairs[gap] = same, pairs[same.kept]

    def scores(self, gap: int, e_sem: Tensor, scale: float) -> NDArray[np.float64]:
        """[P] NDCG@10 of own score + scale * w * <e_sem, v'_i> for e_sem [P, d]."""
        return self._held[gap].ndcg10(e_sem, scale * self.fusion_weight)

    def score(self, gap: int, e_sem: Tensor, scale: float) -> float:
        """Mean of ``scores``; 0 without requests."""
        return self._held[gap].mean(e_sem, scale * self.fusion_weight)

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
        """Over the gaps above 0: a fresh snapshot is never corrected."""
        stale = [figure for gap, figure in figures.items() if gap > 0]
        return float(np.mean(stale)) if stale else 0.0

    def report(
        self, corrected: Mapping[int, Tensor], rules: tuple[AgeRule, ...]
    ) -> dict[int, GapFigures]:
        found = {}
        for gap in self.pairs:
            stale = self.stale_embedding(gap)
            ruled = trusted(rules, self.ages(gap), self.moved(gap), corrected[gap], stale)
            fresh = self.e_sem[torch.from_numpy(self.pairs[gap].fresh)]
            found[gap] = GapFigures(
                own=self.score(gap, stale, 0.0),
                fresh=self.score(gap, fresh, 1.0),
                stale=self.score(gap, stale, 1.0),
                calibrated=self.score(gap, ruled, 1.0),
            )
        return found
