"""What a device would answer, and know, at pairs of a request and an older snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.cues import CUES
from shared.profile import DeviceProfile
from shared.progress import Task
from training.age_rules import AgeRule
from training.calibration_fit import FittedCalibration
from training.calibration_inputs import make_inputs
from training.pairs import Pairs
from training.requests import Requests

ROWS = 512  # requests evaluated together


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """Of P pairs, in their order.

    Attributes:
        stale: [P] expected rank of the target with the snapshot at face value; inf if it is not
            among the items the device ranks.
        calibrated: [P] the same with correction and age rules.
        cues: [P, 8] raw, in the device's order.
        r: [P] estimated reliability.
        inconsistency: [P] in positions (see ``device_runtime.cues``).
    """

    stale: NDArray[np.float32]
    calibrated: NDArray[np.float32]
    cues: NDArray[np.float32]
    r: NDArray[np.float32]
    inconsistency: NDArray[np.float32]

    @staticmethod
    def joined(parts: list[PairEvidence]) -> PairEvidence:
        names = ("stale", "calibrated", "cues", "r", "inconsistency")
        return PairEvidence(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Judged:
    """What pairs are judged by.

    Attributes:
        e_sem: [A, d] and candidates [A, N], best first, at every anchor of ``requests``.
        fusion_weight: of eq. 4. top_l: L of eq. 10.
        exclude_seen: items a user had may not be recommended.
    """

    requests: Requests
    e_sem: Tensor
    candidates: Tensor
    calibration: FittedCalibration
    profile: DeviceProfile
    fusion_weight: float
    top_l: int
    exclude_seen: bool


@torch.no_grad()
def pair_evidence(judged: Judged, pairs: Pairs, task: Task | None = None) -> PairEvidence:
    """Evaluate pairs that are sorted by request.

    Ranks are those of the running system: a snapshot's candidates united with the user's own
    history as profile and repeat policy say; the whole catalogue where the device re-retrieves.
    """
    parts = []
    for chunk in _chunks(pairs):
        parts.append(_evaluate(judged, chunk))
        if task is not None:
            task.advance(len(np.unique(chunk.fresh)))
    return PairEvidence.joined(parts)


def _chunks(pairs: Pairs) -> Iterator[Pairs]:
    """Pairs of ROWS requests at a time."""
    requests, first = np.unique(pairs.fresh, return_index=True)
    bounds = [*first[::ROWS].tolist(), len(pairs)]
    if len(requests) and np.any(np.diff(pairs.fresh) < 0):
        raise ValueError("pairs must be sorted by request")
    for start, stop in pairwise(bounds):
        yield pairs[np.arange(start, stop)]


def _evaluate(judged: Judged, pairs: Pairs) -> PairEvidence:
    calibration = judged.calibration
    inputs = make_inputs(
        judged.requests,
        pairs,
        judged.e_sem,
        judged.candidates,
        calibration.calibrator.inputs,
        window=judged.profile.window,
        top_l=judged.top_l,
    )
    corrected, r = calibration.correct(inputs)
    ages = judged.requests.anchors.tau[pairs.fresh] - judged.requests.anchors.tau[pairs.stale]
    moved = inputs.cues[:, CUES.index("moved")].numpy() > 0
    weight, correct = _rules(calibration.rules, ages, moved)
    trusted = torch.from_numpy(weight)[:, None] * torch.where(
        torch.from_numpy(correct)[:, None], corrected, inputs.stale
    )
    stale = np.empty(len(pairs), dtype=np.float32)
    calibrated, far = np.empty_like(stale), np.empty_like(stale)
    rows, first = np.unique(pairs.fresh, return_index=True)
    bounds = [*first.tolist(), len(pairs)]
    index = torch.from_numpy(rows)
    structural = judged.requests.structural(index)
    seen = _seen(judged, index)
    for place, row in enumerate(rows.tolist()):
        at = slice(bounds[place], bounds[place + 1])
        one = _Request(judged, row, structural[place], seen[place])
        held = torch.from_numpy(pairs.stale[at])
        among = judged.candidates[held]
        stale[at] = one.ranks(among, judged.fusion_weight * inputs.stale[at])
        calibrated[at] = one.ranks(among, judged.fusion_weight * trusted[at])
        far[at] = one.inconsistency(among)
    return PairEvidence(stale, calibrated, inputs.cues.numpy(), r.numpy().astype(np.float32), far)


def _rules(
    rules: tuple[AgeRule, ...], ages: NDArray[np.int64], moved: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """[P] factor on the fusion weight and whether the correction is added."""
    starts = np.array([rule.from_delta for rule in rules])
    place = np.maximum(np.searchsorted(starts, ages, side="right") - 1, 0)
    weight = np.array([[rule.weight, rule.moved_weight] for rule in rules], dtype=np.float32)
    correct = np.array([[rule.correct, rule.moved_correct] for rule in rules])
    kind = moved.astype(np.int64)
    return weight[place, kind], correct[place, kind]


def _seen(judged: Judged, index: Tensor) -> Tensor:
    """[B, I] bool: items the user of each row had before."""
    mask = torch.zeros(len(index), len(judged.requests.table.bias), dtype=torch.bool)
    mask[judged.requests.seen(index)] = True
    return mask


class _Request:
    """One request against many snapshots.

    Args:
        row: of ``judged.requests``.
        structural: [I] scores of all items. seen: [I] bool.
    """

    def __init__(self, judged: Judged, row: int, structural: Tensor, seen: Tensor) -> None:
        self._judged, self._structural = judged, structural
        self._vectors = judged.requests.table.vectors.detach()
        self._target = int(judged.requests.target[row])
        self._barred = seen if judged.exclude_seen else None
        unites = judged.profile.unite_history and not judged.exclude_seen
        self._own = _kept_history(judged, row) if unites else torch.empty(0, dtype=torch.long)

    def ranks(self, among: Tensor, weighted: Tensor) -> NDArray[np.float32]:
        """[m] expected ranks of the target, for candidates [m, N] and w * e_sem [m, d]."""
        target, vectors = self._target, self._vectors
        own = self._structural[target] + weighted @ vectors[target]
        if self._judged.profile.local_candidates:
            scores = self._structural + weighted @ vectors.T
            counted = torch.ones_like(scores, dtype=torch.bool)
            counted[:, target] = False
            known = torch.ones(len(among), dtype=torch.bool)
            above, ties = self._count(torch.arange(scores.shape[1]), scores, own, counted)
        else:
            scores = self._structural[among] + torch.einsum("md,mnd->mn", weighted, vectors[among])
            above, ties = self._count(among, scores, own, among != target)
            known = (among == target).any(1)
            if len(self._own):
                mine = self._structural[self._own] + weighted @ vectors[self._own].T
                listed = torch.zeros(len(among), len(self._structural), dtype=torch.bool)
                listed.scatter_(1, among, True)
                counted = ~listed[:, self._own] & (self._own != target)
                more, equal = self._count(self._own, mine, own, counted)
                above, ties = above + more, ties + equal
                known |= (self._own == target).any()
        rank = 1.0 + above.double() + ties.double() / 2.0
        if self._barred is not None and bool(self._barred[target]):
            known = torch.zeros_like(known)
        rank[~known] = torch.inf
        return rank.float().numpy()

    def _count(
        self, items: Tensor, scores: Tensor, own: Tensor, counted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[m] items above and tied with the target, of ``items`` [m, n] or [n] that count."""
        if self._barred is not None:
            counted = counted & ~self._barred[items]
        above = ((scores > own[:, None]) & counted).sum(1)
        return above, ((scores == own[:, None]) & counted).sum(1)

    def inconsistency(self, among: Tensor) -> NDArray[np.float32]:
        """[m] mean |place in the cloud's order - place in the device's| of what may be ranked."""
        scores = self._structural[among]
        kept = torch.ones_like(among, dtype=torch.bool)
        if self._barred is not None:
            kept = ~self._barred[among]
            scores = scores.masked_fill(~kept, -torch.inf)
        before = kept.cumsum(1) - 1
        order = torch.argsort(scores, dim=1, descending=True, stable=True)
        after = torch.empty_like(order)
        after.scatter_(1, order, torch.arange(among.shape[1]).expand_as(order))
        moved = ((before - after).abs() * kept).sum(1).double() / kept.sum(1)  # nan if none is kept
        return moved.float().numpy()


def _kept_history(judged: Judged, row: int) -> Tensor:
    """Distinct own items that the device can rank: all, or those whose vectors it still keeps."""
    anchors, events = judged.requests.anchors, judged.requests.events
    first = int(events.user_start[anchors.user[row]])
    profile = judged.profile
    stop = first + int(anchors.tau[row])
    start = max(first, stop - profile.window) if profile.retain == "window" else first
    items = events.item[start:stop][::-1]
    _, latest = np.unique(items, return_index=True)
    distinct = items[np.sort(latest)]  # the last used first
    if profile.table == "none":
        distinct = distinct[: profile.met_items]
    return torch.from_numpy(distinct.astype(np.int64))
