"""What a device would know at a request with an older snapshot, and what a refresh would gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.cues import CUES, inconsistency
from device_runtime.quadratic_gain import FEATURES
from shared.metrics import ndcg
from shared.progress import Task
from training.age_rules import apply_rule, rule_at
from training.calibration_fit import FittedCalibration
from training.calibration_inputs import make_inputs
from training.pairs import Pairs, candidate_scores, pair_cues, united
from training.requests import Requests

Floats = NDArray[np.float64]
CUTOFF = 10
ROWS = 256


@dataclass(frozen=True)
class Ranker:
    """How the device ranks: its snapshot's candidates, united with what the profile adds.

    Attributes:
        fusion_weight: of the semantic channel.
        window, top_l: as for ``training.pairs.pair_cues``.
        unite_history: own items are ranked beside the candidates: those of the window, or with
            ``whole_history`` all that the user ever had.
        whole_table: the device re-retrieves from a table of all items.
        exclude_seen: items a user had may not be recommended.
    """

    fusion_weight: float
    window: int
    top_l: int
    unite_history: bool
    whole_history: bool
    whole_table: bool
    exclude_seen: bool


class RefreshEvidence:
    """Requests, snapshots at every anchor of theirs, and the fitted calibration.

    Args:
        e_sem: [A, d] and candidates [A, N] (best first) at every anchor of ``requests``.
    """

    def __init__(
        self,
        requests: Requests,
        e_sem: Tensor,
        candidates: Tensor,
        calibration: FittedCalibration,
        ranker: Ranker,
    ) -> None:
        self._requests, self._e_sem, self._candidates = requests, e_sem, candidates
        self._calibration, self._ranker = calibration, ranker

    @torch.no_grad()
    def features(self, pairs: Pairs, task: Task) -> Floats:
        """[P, F] raw, in the order of ``device_runtime.quadratic_gain.FEATURES``."""
        ranker = self._ranker
        cues = pair_cues(
            self._requests,
            pairs,
            self._e_sem,
            self._candidates,
            window=ranker.window,
            top_l=ranker.top_l,
        )
        found = np.empty((len(pairs), len(FEATURES)))
        found[:, : len(CUES)] = cues.numpy()
        found[:, len(CUES)] = self._calibration.estimator(cues).numpy()
        for at in _chunks(len(pairs)):
            found[at, -1] = self._inconsistency(pairs[at])
            task.advance(len(at))
        return found

    def _inconsistency(self, pairs: Pairs) -> Floats:
        """[B] as the device computes it, over the candidates it may rank."""
        requests, fresh = self._requests, torch.from_numpy(pairs.fresh)
        items = self._candidates[torch.from_numpy(pairs.stale)]
        structural = requests.structural_of(fresh, items).numpy()
        allowed = np.ones(items.shape, dtype=np.bool_)
        if self._ranker.exclude_seen:
            had = torch.zeros(len(fresh), len(requests.table.bias), dtype=torch.bool)
            had[requests.seen(fresh)] = True
            allowed = ~had.gather(1, items).numpy()
        initial = items.numpy().astype(np.int32)
        found = np.empty(len(fresh))
        for row, (ranked, scores, may) in enumerate(zip(initial, structural, allowed, strict=True)):
            order = np.argsort(ranked[may])
            found[row] = inconsistency(ranked, ranked[may][order], scores[may][order])
        return found

    @torch.no_grad()
    def gains(self, pairs: Pairs, task: Task) -> Floats:
        """[P] NDCG@10 of the answer from a fresh snapshot minus that from the held one."""
        weight = self._ranker.fusion_weight
        fresh = torch.from_numpy(pairs.fresh)
        now, held = self._answering(Pairs(pairs.fresh, pairs.fresh)), self._answering(pairs)
        found = np.empty(len(pairs))
        for at in _chunks(len(pairs)):
            part = pairs[at]
            rows = fresh[torch.from_numpy(at)]
            best = self._ranks(rows, part.fresh, weight * now[at])
            old = self._ranks(rows, part.stale, weight * held[at])
            found[at] = ndcg(best, CUTOFF) - ndcg(old, CUTOFF)
            task.advance(len(at))
        return found

    def _answering(self, pairs: Pairs) -> Tensor:
        """[P, d] what the device fuses: corrected and under the age rules."""
        calibration, ranker = self._calibration, self._ranker
        inputs = make_inputs(
            self._requests,
            pairs,
            self._e_sem,
            self._candidates,
            calibration.calibrator.inputs,
            window=ranker.window,
            top_l=ranker.top_l,
        )
        corrected, _ = calibration.correct(inputs)
        moved = inputs.cues[:, CUES.index("moved")].numpy() > 0
        age = inputs.cues[:, CUES.index("delta")].numpy()
        answering = corrected.clone()
        for delta in np.unique(age):
            at = torch.from_numpy(np.flatnonzero(age == delta))
            rule = rule_at(calibration.rules, int(delta))
            answering[at] = apply_rule(rule, corrected[at], inputs.stale[at], moved[at.numpy()])
        return answering

    def _ranks(self, rows: Tensor, snapshots: NDArray[np.int64], weighted: Tensor) -> Floats:
        """[B] expected rank of the target in the answer from these snapshots; inf if not ranked."""
        requests, ranker = self._requests, self._ranker
        target = requests.target[rows][:, None]
        if ranker.whole_table:
            everything = torch.arange(len(requests.table.bias)).expand(len(rows), -1)
            lists = [everything]
        else:
            lists = [self._candidates[torch.from_numpy(snapshots)]]
            if ranker.unite_history and not ranker.exclude_seen:
                lists.append(self._own(rows))
        items, valid = united(requests, rows, lists, exclude_seen=ranker.exclude_seen)
        if ranker.whole_table:
            scores = torch.addmm(
                requests.structural(rows), weighted, requests.table.vectors.detach().T
            )
        else:
            structural = requests.structural_of(rows, items)
            scores = structural + candidate_scores(weighted, items, requests)
        hit = (items == target) & valid
        own = scores.masked_fill(~hit, -torch.inf).amax(1, keepdim=True)
        above = ((scores > own) & valid).sum(1).double()
        ties = ((scores == own) & valid).sum(1).double()
        rank = above + (ties + 1.0) / 2.0
        return rank.masked_fill(~hit.any(1), torch.inf).numpy()

    def _own(self, rows: Tensor) -> Tensor:
        """[B, L] own items that the device remembers; short rows repeat an item."""
        requests = self._requests
        if not self._ranker.whole_history:
            return requests.history[rows]
        place, item = requests.seen(rows)
        count = torch.bincount(place, minlength=len(rows))
        column = torch.arange(len(place)) - (count.cumsum(0) - count)[place]
        own = requests.history[rows][:, :1].repeat(1, int(count.max()))
        own[place, column] = item
        return own


def _chunks(count: int) -> list[NDArray[np.int64]]:
    return [np.arange(i, min(i + ROWS, count)) for i in range(0, count, ROWS)]
