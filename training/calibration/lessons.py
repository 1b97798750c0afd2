"""Lessons: what a calibrator learns from, of one set of frozen models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.calibration.inputs import Inputs, make_inputs
from training.calibration.networks import log_distribution, reliability_target
from training.calibration.options import CalibrationOptions
from training.calibration.pairs import Pairs, candidate_scores, top_candidates, united
from training.semantic.requests import Requests


@dataclass(frozen=True, eq=False)
class Material:
    """Requests with older snapshots, as one set of frozen models sees them.

    Attributes:
        requests: with own terms. e_sem: [A, d] of the projector at each of them.
        pairs: of rows of ``requests``.
        labelled: rows of ``requests`` whose targets the backbone has not met: the teacher is mixed
            with the target itself there, and is alone elsewhere. None: all.
    """

    requests: Requests
    e_sem: Tensor
    pairs: Pairs
    labelled: NDArray[np.int64] | None = None


class Lessons:
    """The pairs of a material that are learned from, with inputs and distributions of each.

    Attributes:
        pairs: P of them.
        listed: [P] rows whose candidates omega compares, and the paper's method ranks.
        label_weight: [P] share of the target beside the fresh teacher.
    """

    def __init__(
        self,
        material: Material,
        fusion_weight: float,
        options: CalibrationOptions,
        rng: np.random.Generator,
    ) -> None:
        self.requests, self.e_sem = material.requests, material.e_sem
        self.fusion_weight, self.options = fusion_weight, options
        self.pairs = self._usable(material.pairs)
        labelled = material.labelled
        share = (
            np.ones(len(self.pairs)) if labelled is None else np.isin(self.pairs.fresh, labelled)
        )
        self.label_weight = options.label_weight * torch.from_numpy(share).float()
        self.candidates = top_candidates(self.e_sem, self.requests.semantics, options.candidates)
        # Omega is of the ranked list: that of the snapshot, and in the paper's S1 the fresh one.
        fresh_list = rng.random(len(self.pairs)) < 0.5
        self.listed = np.where(fresh_list, self.pairs.fresh, self.pairs.stale)

    def _usable(self, pairs: Pairs) -> Pairs:
        """Without requests whose target may not be recommended: their label says nothing."""
        if not self.options.exclude_seen:
            return pairs
        kept = pairs[np.flatnonzero(self.requests.fresh_targets(pairs.fresh))]
        return kept if len(kept) else pairs

    def inputs(
        self, pairs: Pairs, names: Sequence[str], listed: NDArray[np.int64] | None = None
    ) -> Inputs:
        """What the networks read at any pairs of these requests; arguments as ``make_inputs``."""
        return make_inputs(
            self.requests,
            pairs,
            self.e_sem,
            self.candidates,
            names,
            window=self.options.window,
            top_l=self.options.top_l,
            listed=listed,
        )

    def ranked(self, at: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Items [B, C] at places ``at`` [B] of the pairs, which of them count, their own scores.

        Of both snapshots, and own items and the label; in the paper's method those of either the
        fresh snapshot (S1) or the old one (S2), and nothing else.
        """
        options, requests, pairs = self.options, self.requests, self.pairs[at]
        fresh, stale = torch.from_numpy(pairs.fresh), torch.from_numpy(pairs.stale)
        if options.ranks_either_list:
            lists = [self.candidates[torch.from_numpy(self.listed[at])]]
        else:
            lists = [self.candidates[stale], self.candidates[fresh]]
            if options.unite_history and not options.exclude_seen:
                lists.append(requests.history[fresh])
            if options.label_weight:
                lists.append(requests.target[fresh][:, None])
        items, valid = united(requests, fresh, lists, exclude_seen=options.exclude_seen)
        return items, valid, requests.structural_of(fresh, items)

    def log_p(self, e_sem: Tensor, items: Tensor, valid: Tensor, structural: Tensor) -> Tensor:
        """Eqs. 15-16: the fused scores as a distribution [B, C]."""
        semantic = candidate_scores(e_sem, items, self.requests)
        scores = structural + self.fusion_weight * semantic
        return log_distribution(scores, self.options.temperature, valid)

    def hits(
        self, at: NDArray[np.int64], e_sem: Tensor, items: Tensor, valid: Tensor, structural: Tensor
    ) -> Tensor:
        """[B] log p(target) at places ``at`` of the pairs, at temperature 1; 0 if it is no item."""
        semantic = candidate_scores(e_sem, items, self.requests)
        log_p = log_distribution(structural + self.fusion_weight * semantic, 1.0, valid)
        target = self.requests.target[torch.from_numpy(self.pairs.fresh[at])][:, None]
        return log_p.masked_fill(~((items == target) & valid), 0.0).sum(-1)

    @torch.no_grad()
    def reference(self) -> Tensor:
        """r* of the stale pairs, in their order."""
        at = np.flatnonzero(self.pairs.fresh != self.pairs.stale)
        found = [torch.ones(0)]
        for part in np.split(at, range(1024, len(at), 1024)):
            pairs = self.pairs[part]
            items, valid, structural = self.ranked(part)
            fresh, stale = (
                self.log_p(self.e_sem[torch.from_numpy(r)], items, valid, structural)
                for r in (pairs.fresh, pairs.stale)
            )
            found.append(reliability_target(fresh, stale, valid))
        return torch.cat(found)
