"""Age rules: how far a snapshot of some age is trusted, chosen on validation not to harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import AgeRule
from training.choosing import ahead

SCALES = (1.0, 0.75, 0.5, 0.25, 0.125, 0.0, 1.5)
AGES = (1, 4, 8)  # first ages, in events, of the groups that have a rule each
MIN_REQUESTS = 200  # fewer validation requests of a kind do not get a rule of their own


def discount(from_delta: int, weight: float) -> AgeRule:
    """Nothing is corrected, and the weight is that of later sessions, too."""
    return AgeRule(
        from_delta=from_delta,
        weight=weight,
        correct=False,
        moved_weight=weight,
        moved_correct=False,
    )


FRESH = discount(0, 1.0)
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
    """The best of corrected or not, at each weight of SCALES, for each group of ages.

    Requests in the snapshot's own session and later ones choose apart. Leaving the method alone
    (corrected, weight 1) wins ties. The device's own score alone, the uncalibrated fusion and a
    discount by age are all among the choices, so that on the steps that they are chosen on nothing
    here loses to any of them. A fresh snapshot is taken as it is.

    Args:
        corrected: gap -> [P, d] corrected embeddings of the gap's validation pairs.
        margin: what the best must be ahead by, in standard errors of the paired difference, users
            being the clusters. Below it the plainest choice is taken: the one of both kinds of
            request together, then the own score alone, then fusion as it is, then the correction.
            At 0 the best is taken, however little it is ahead by.
    """
    choices = [(scale, True) for scale in SCALES] + [(scale, False) for scale in SCALES if scale]
    plain = sorted(range(len(choices)), key=lambda c: _plainness(*choices[c]))
    rules = [FRESH] if 0 in corrected else []
    for start, gaps in age_groups(corrected):
        found = np.stack([_scores(judge, gaps, corrected, *choice) for choice in choices])
        moved = np.concatenate([judge.moved(gap) for gap in gaps])
        users = np.concatenate([judge.users(gap) for gap in gaps])
        overall = _pick(found, users, plain, margin)
        picks = []
        for kind in (~moved, moved):
            few = np.count_nonzero(kind) < MIN_REQUESTS
            own = _pick(found[:, kind], users[kind], [overall, *plain], margin)
            picks.append(choices[overall if few else own])
        (weight, correct), (moved_weight, moved_correct) = picks
        rules.append(
            AgeRule(
                from_delta=start,
                weight=weight,
                correct=correct,
                moved_weight=moved_weight,
                moved_correct=moved_correct,
            )
        )
    return tuple(rules)


def age_groups(gaps: Iterable[int]) -> list[tuple[int, tuple[int, ...]]]:
    """(first age, gaps that stand for it) of the groups of AGES, ages above 0.

    Few groups, as each chooses among many rules: with a rule for every measured gap the choice
    follows the noise of its requests.
    """
    stale = np.array(sorted(gap for gap in gaps if gap > 0), dtype=np.int64)
    group = np.searchsorted(AGES, stale, side="right") - 1
    found: list[tuple[int, tuple[int, ...]]] = []
    for place in np.unique(group).tolist():
        start = AGES[place] if found else AGES[0]
        found.append((start, tuple(stale[group == place].tolist())))
    return found


def _scores(
    judge: JudgesRules,
    gaps: Sequence[int],
    corrected: Mapping[int, Tensor],
    scale: float,
    correct: bool,
) -> NDArray[np.float64]:
    """Of all requests at each of ``gaps``, one gap after the other."""
    return np.concatenate(
        [
            judge.scores(gap, corrected[gap] if correct else judge.stale_embedding(gap), scale)
            for gap in gaps
        ]
    )


def _plainness(scale: float, correct: bool) -> tuple[bool, float]:
    """Sorts the own score alone first, fusion as it is next, the correction last."""
    return correct and scale > 0, scale


def _pick(
    found: NDArray[np.float64], users: NDArray[np.int64], plain: Sequence[int], margin: float
) -> int:
    """Row of ``found`` [C, P] with the best mean, or the first of ``plain`` that is level."""
    best = int(found.mean(1).argmax()) if found.shape[1] else plain[0]
    if not margin or not found.shape[1]:
        return best
    return next(c for c in plain if not ahead(found[best] - found[c], users, margin=margin))


def choose_discount(judge: JudgesRules, gaps: Iterable[int]) -> tuple[AgeRule, ...]:
    """The opponent: the best weight of SCALES for every group of ages, nothing corrected."""
    gaps = sorted(gaps)
    rules = [FRESH] if 0 in gaps else []
    for start, some in age_groups(gaps):
        means = [float(_scores(judge, some, {}, scale, False).mean()) for scale in SCALES]
        rules.append(discount(start, SCALES[int(np.argmax(means))]))
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
