"""Age rules: how far a snapshot of some age is trusted, chosen on validation not to harm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import AgeRule

SCALES = (1.0, 0.75, 0.5, 0.25, 0.0, 1.5)
MIN_REQUESTS = 200  # fewer validation requests of a kind do not get a rule of their own


FRESH = AgeRule(from_delta=0, correct=False, moved_correct=False)
UNRULED = AgeRule(from_delta=0)


class JudgesRules(Protocol):
    """Validation NDCG@10 of every request, for embeddings under a scaled fusion weight."""

    def stale_embedding(self, gap: int) -> Tensor: ...

    def scores(self, gap: int, e_sem: Tensor, scale: float) -> NDArray[np.float64]: ...

    def moved(self, gap: int) -> NDArray[np.bool_]: ...

    def users(self, gap: int) -> NDArray[np.int64]: ...


def choose_rules(
    judge: JudgesRules, corrected: Mapping[int, Tensor], *, margin: float = 0.0
) -> tuple[AgeRule, ...]:
    """The best of corrected or not, at each weight of SCALES, for every validation gap.

    Requests in the snapshot's own session and later ones choose apart. Leaving the method alone
    (corrected, weight 1) wins ties. Structure alone, the uncalibrated fusion and a discount by age
    are all among the choices, so that on validation nothing here loses to any of them. A fresh
    snapshot is taken as it is.

    Args:
        corrected: gap -> [P, d] corrected embeddings of the gap's validation pairs.
        margin: what the best must be ahead by, in standard errors of the paired difference, users
            being the clusters. Below it the plainest choice is taken: the one of both kinds of
            request together, then structure alone, then fusion as it is, then the correction. At 0
            the best is taken, however little it is ahead by.
    """
    choices = [(scale, True) for scale in SCALES] + [(scale, False) for scale in SCALES if scale]
    plain = sorted(range(len(choices)), key=lambda c: _plainness(*choices[c]))
    gaps = sorted(corrected)
    rules = []
    for gap in gaps:
        if gap == 0:  # nothing is stale, so nothing is repaired
            rules.append(FRESH)
            continue
        embedding = {True: corrected[gap], False: judge.stale_embedding(gap)}
        found = np.stack([judge.scores(gap, embedding[c], scale) for scale, c in choices])
        moved, users = judge.moved(gap), judge.users(gap)
        overall = _pick(found, users, plain, margin)
        picks = []
        for kind in (~moved, moved):
            few = np.count_nonzero(kind) < MIN_REQUESTS
            own = _pick(found[:, kind], users[kind], [overall, *plain], margin)
            picks.append(choices[overall if few else own])
        (weight, correct), (moved_weight, moved_correct) = picks
        rules.append(
            AgeRule(
                from_delta=_starts(gap, gaps),
                weight=weight,
                correct=correct,
                moved_weight=moved_weight,
                moved_correct=moved_correct,
            )
        )
    return tuple(rules)


def _plainness(scale: float, correct: bool) -> tuple[bool, float]:
    """Sorts structure alone first, fusion as it is next, the correction last."""
    return correct and scale > 0, scale


def _pick(
    found: NDArray[np.float64], users: NDArray[np.int64], plain: Sequence[int], margin: float
) -> int:
    """Row of ``found`` [C, P] with the best mean, or the first of ``plain`` that is level."""
    best = int(found.mean(1).argmax()) if found.shape[1] else plain[0]
    if not margin or not found.shape[1]:
        return best
    return next(c for c in plain if _level(found[best] - found[c], users, margin))


def _level(behind: NDArray[np.float64], users: NDArray[np.int64], margin: float) -> bool:
    """Whether the mean of ``behind`` [P] is within ``margin`` standard errors of zero."""
    mean = behind.mean()
    spread = np.bincount(np.unique(users, return_inverse=True)[1], weights=behind - mean)
    return bool(mean <= margin * np.sqrt((spread**2).sum()) / len(behind))


def choose_discount(judge: JudgesRules, gaps: Sequence[int]) -> tuple[AgeRule, ...]:
    """The opponent: the best weight of SCALES for every gap, nothing corrected."""
    order = sorted(gaps)
    rules = []
    for gap in order:
        embedding = judge.stale_embedding(gap)
        found = [float(judge.scores(gap, embedding, scale).mean()) for scale in SCALES]
        best = SCALES[int(np.argmax(found))]
        rules.append(
            AgeRule(
                from_delta=_starts(gap, order),
                weight=best,
                correct=False,
                moved_weight=best,
                moved_correct=False,
            )
        )
    return tuple(rules)


def trusted(
    rules: Sequence[AgeRule],
    ages: NDArray[np.integer],
    moved: NDArray[np.bool_],
    corrected: Tensor,
    stale: Tensor,
) -> Tensor:
    """What is fused with the plain fusion weight: [P, d], each row under the rule of its age.

    Args:
        ages: [P] t - tau. moved: [P] whether a new session began since the snapshot.
        corrected, stale: [P, d].
    """
    starts = np.array([rule.from_delta for rule in rules])
    place = np.maximum(np.searchsorted(starts, ages, side="right") - 1, 0)
    choices = np.array([[rule.at(False), rule.at(True)] for rule in rules], dtype=np.float32)
    chosen = torch.from_numpy(choices[place, moved.astype(np.int64)])  # [P, 2] weight, correct
    return chosen[:, :1] * torch.where(chosen[:, 1:] > 0, corrected, stale)


def _starts(gap: int, gaps: list[int]) -> int:
    """First age that is nearer to ``gap`` than to the gap measured before it, by ratio."""
    place = gaps.index(gap)
    if place == 0:
        return 0
    below = gaps[place - 1]
    return math.ceil(math.sqrt((1 + below) * (1 + gap))) - 1
