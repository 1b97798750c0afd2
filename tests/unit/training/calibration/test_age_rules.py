"""Which rule is chosen, from validation scores that are written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import AgeRule, rule_at
from training.calibration.age_rules import SCALES, age_groups, choose_rules, trusted

USERS, EACH = 120, 10
GAP = 5


class WrittenJudge:
    """Gives each choice the scores prepared for it; a corrected embedding is all ones."""

    def __init__(self, scores: dict[tuple[float, bool], NDArray[np.float64]], seed: int = 0):
        self.given = scores
        self.plain = np.full(USERS * EACH, 0.1)
        self.later = np.random.default_rng(seed).random(USERS * EACH) < 0.5

    def stale_embedding(self, gap: int) -> Tensor:
        return torch.zeros(USERS * EACH, 2)

    def scores(self, gap: int, e_sem: Tensor, scale: float) -> NDArray[np.float64]:
        return self.given.get((scale, bool(e_sem.any())), self.plain)

    def moved(self, gap: int) -> NDArray[np.bool_]:
        return self.later

    def users(self, gap: int) -> NDArray[np.int64]:
        return np.repeat(np.arange(USERS), EACH)


CORRECTED = {GAP: torch.ones(USERS * EACH, 2)}


def noise(size: float, seed: int = 1) -> NDArray[np.float64]:
    """Mean zero within both kinds of request and overall."""
    drawn = np.random.default_rng(seed).normal(0, size, USERS * EACH)
    later = WrittenJudge({}).later
    for kind in (later, ~later):
        drawn[kind] -= drawn[kind].mean()
    return drawn


def chosen(scores: dict, margin: float) -> tuple[tuple[float, bool], tuple[float, bool]]:
    (rule,) = choose_rules(WrittenJudge(scores), CORRECTED, margin=margin)
    return rule.at(False), rule.at(True)


def test_without_a_margin_the_best_is_taken_however_little_it_is_ahead() -> None:
    scores = {(0.75, True): 0.1 + 1e-6 + noise(0.2)}
    assert chosen(scores, 0.0) == ((0.75, True), (0.75, True))


def test_a_margin_takes_structure_alone_where_nothing_is_clearly_better() -> None:
    scores = {(0.75, True): 0.1 + 1e-6 + noise(0.2)}
    assert chosen(scores, 1.0) == ((0.0, True), (0.0, True))


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.0])
def test_what_is_clearly_better_is_taken_under_every_margin(margin: float) -> None:
    scores = {(0.5, True): 0.15 + noise(0.05)}
    assert chosen(scores, margin) == ((0.5, True), (0.5, True))


def test_fusion_as_it_is_goes_before_a_correction_that_is_level_with_it() -> None:
    scores = {
        (0.5, False): 0.15 + noise(0.05),
        (0.5, True): 0.1501 + noise(0.05, seed=2),
    }
    assert chosen(scores, 1.0) == ((0.5, False), (0.5, False))
    assert chosen(scores, 0.0) == ((0.5, True), (0.5, True))


def test_a_kind_keeps_the_common_choice_until_its_own_is_clearly_better() -> None:
    later = WrittenJudge({}).later
    common = 0.15 + noise(0.05)
    slightly, clearly = (
        np.where(later, 0.15 + gain, 0.12) + noise(0.05, seed=3) for gain in (1e-5, 0.03)
    )
    assert chosen({(1.0, False): common, (0.25, True): slightly}, 1.0) == (
        (1.0, False),
        (1.0, False),
    )
    assert chosen({(1.0, False): common, (0.25, True): clearly}, 1.0) == (
        (1.0, False),
        (0.25, True),
    )


def test_users_are_the_clusters() -> None:
    """Ahead for one user in ten requests is no more than ahead once."""
    of_one = np.zeros(USERS * EACH)
    of_one[:EACH] = 0.9
    assert chosen({(1.0, True): 0.1 + of_one}, 1.5) == ((0.0, True), (0.0, True))
    scattered = np.zeros(USERS * EACH)
    scattered[::USERS] = 0.9
    assert chosen({(1.0, True): 0.1 + scattered}, 1.5) == ((1.0, True), (1.0, True))


def test_a_fresh_snapshot_is_taken_as_it_is() -> None:
    judge = WrittenJudge({})
    fresh, stale = choose_rules(judge, {0: CORRECTED[GAP], GAP: CORRECTED[GAP]}, margin=1.0)
    assert fresh.at(False) == fresh.at(True) == (1.0, False)
    assert stale.from_delta == 1
    assert stale.at(False)[0] in SCALES


def test_ages_share_three_rules() -> None:
    assert age_groups((0, 1, 2, 5, 10, 20)) == [(1, (1, 2)), (4, (5,)), (8, (10, 20))]
    assert age_groups((0, 5, 20)) == [(1, (5,)), (8, (20,))]
    assert age_groups((0,)) == []


def test_a_group_is_judged_on_the_requests_of_all_its_gaps() -> None:
    """Best at one gap, worst at the other: on both together the steady one is ahead."""

    class Turning(WrittenJudge):
        def scores(self, gap: int, e_sem: Tensor, scale: float) -> NDArray[np.float64]:
            steady = {1.0: 0.2, 0.25: 0.3 if gap == 1 else 0.0}
            return np.full(USERS * EACH, steady.get(scale, 0.1)) + noise(0.01)

    corrected = {gap: torch.ones(USERS * EACH, 2) for gap in (1, 2)}
    (rule,) = choose_rules(Turning({}), corrected, margin=1.0)
    assert rule.at(False)[0] == rule.at(True)[0] == 1.0


def test_every_row_goes_by_the_rule_of_its_own_age() -> None:
    rules = (
        AgeRule(from_delta=1, weight=1.0, correct=False, moved_weight=0.5, moved_correct=True),
        AgeRule(from_delta=4, weight=0.75, correct=True, moved_weight=0.0, moved_correct=False),
        AgeRule(from_delta=9, weight=1.5, correct=True, moved_weight=0.25, moved_correct=True),
    )
    ages = np.repeat(np.arange(13), 2)
    moved = np.tile([False, True], 13)
    corrected, stale = torch.randn(2, len(ages), 3)
    found = trusted(rules, ages, moved, corrected, stale)
    for row, (age, later) in enumerate(zip(ages.tolist(), moved.tolist(), strict=True)):
        weight, correct = rule_at(rules, age).at(later)
        assert torch.equal(found[row], weight * (corrected if correct else stale)[row])
