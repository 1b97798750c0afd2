"""The planner against least squares, what a cloud may know, and a language model's letters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from training.baselines.cda4rec.language import LETTERS, LetterPlanner, prompt_of
from training.baselines.cda4rec.planner import earned, fit_planner
from training.baselines.cda4rec.plans import MEANING, PLANS
from training.baselines.cda4rec.situation import Situation, categories_told

QUIET = Situation(events=10, returns=0, categories=2, query=False, hour=None)


def drawn(pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two features; the first tells whether plan 1 or plan 4 pays, the others never do."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((pairs, 2)) * [3.0, 0.01] + [5.0, 0.0]
    gains = np.zeros((pairs, len(PLANS)))
    gains[:, 1], gains[:, 4] = (x[:, 0] - 5.0) / 9 + 0.5, 0.5 - (x[:, 0] - 5.0) / 9
    return x, gains


def test_it_takes_the_plan_that_pays_in_a_situation() -> None:
    x, gains = drawn(300, 0)
    unseen, worth = drawn(200, 1)
    planner = fit_planner((x, gains), (unseen, worth))
    chosen = planner.choose(unseen)
    np.testing.assert_array_equal(chosen, np.where(unseen[:, 0] > 5.0, 1, 4))
    assert earned(chosen, worth) == pytest.approx(worth.max(1).mean())
    assert earned(chosen, worth) > max(worth.mean(0)) + 0.1  # than any plan for all


@pytest.mark.parametrize("penalty", [1e-3, 0.5, 10.0])
def test_its_ridge_is_least_squares_of_standardised_features(penalty: float) -> None:
    rng = np.random.default_rng(2)
    x, gains = rng.standard_normal((50, 4)) * 7 + 1, rng.random((50, len(PLANS)))
    planner = fit_planner((x, gains), (x, gains), [penalty])
    z = (x - x.mean(0)) / x.std(0)
    rows = np.sqrt(len(x) * penalty) * np.eye(4)
    left = np.vstack([np.c_[z, np.ones(50)], np.c_[rows, np.zeros(4)]])
    right = np.vstack([gains, np.zeros((4, len(PLANS)))])
    solved = np.linalg.lstsq(left, right, rcond=None)[0]
    np.testing.assert_allclose(planner.predicted(x), np.c_[z, np.ones(50)] @ solved, atol=1e-10)
    assert planner.parameters == (4 + 1) * len(PLANS)


def test_a_feature_that_never_changes_changes_nothing() -> None:
    x, gains = drawn(100, 3)
    plain = fit_planner((x, gains), (x, gains), [0.1]).predicted(x)
    with_one = np.c_[x, np.full(100, 3.0)]
    found = fit_planner((with_one, gains), (with_one, gains), [0.1]).predicted(with_one)
    np.testing.assert_allclose(found, plain, atol=1e-10)


def test_what_it_cannot_be_fitted_on_it_says() -> None:
    with pytest.raises(ValueError, match="needs a pair"):
        fit_planner((np.empty((0, 2)), np.empty((0, 5))), (np.empty((0, 2)), np.empty((0, 5))))
    with pytest.raises(ValueError, match=r"gains are \(3, 4\)"):
        fit_planner((np.ones((3, 2)), np.ones((3, 4))), (np.ones((3, 2)), np.ones((3, 4))))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Mostly Drama. Recently: Heat.", 1),
        ("Mostly Drama and Comedy. It is Friday evening.", 2),
        ("Mostly Drama and Comedy, some Western. Recently: A, B and C.", 3),
        ("Mostly Drama and Comedy, some Western and Thriller.", 4),
        ("Recently: Mostly Martha. Asks: Mostly what?", 0),
    ],
)
def test_categories_are_those_of_the_first_sentence(text: str, told: int) -> None:
    assert categories_told(text) == told


def test_numbers_tell_the_bucket_and_put_the_hour_on_a_circle() -> None:
    late = Situation(events=10, returns=3, categories=2, query=True, hour=167.9)
    early = Situation(events=10, returns=3, categories=2, query=True, hour=0.1)
    one, other, none = (np.array(each.numbers()) for each in (late, early, QUIET))
    assert one[0] == math.log(11)
    assert one[3:8].tolist() == [0, 0, 0, 1, 0]
    np.testing.assert_allclose(one, other, atol=0.06)  # midnight is no leap
    assert none[8:].tolist() == [0, 0, 0, 0]
    assert len(none) == len(one)
    assert late.words() != QUIET.words()


class Biased:
    """Likes the first letter whatever it reads, and the letter of "fuse" a little where it is told
    of a question."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def of_letters(self, prompts: Sequence[str]) -> np.ndarray:
        self.read += prompts
        found = np.tile([9.0, 0.0, 0.0, 0.0, 0.0], (len(prompts), 1))
        found[:, PLANS.index("fuse")] += ["asks a question" in prompt for prompt in prompts]
        found[:, PLANS.index("rerank")] += ["asks no question" in prompt for prompt in prompts]
        return found

    def tokens(self, prompt: str) -> int:
        return len(prompt.split())


def test_a_letter_that_is_always_likely_says_nothing_of_a_situation() -> None:
    asking = Situation(events=10, returns=0, categories=2, query=True, hour=None)
    model = Biased()
    planner = LetterPlanner(model)
    chosen = planner.choose([asking, QUIET, asking])
    assert [PLANS[place] for place in chosen] == ["fuse", "rerank", "fuse"]
    planner.choose([asking, QUIET])
    assert len(model.read) == 3  # nothing known, and two situations; each is read once
    assert planner.choose([]).tolist() == []
    assert planner.tokens([asking]) == len(prompt_of(asking.words()).split())


def test_the_prompt_names_every_plan_beside_its_letter() -> None:
    prompt = prompt_of(QUIET.words())
    for letter, plan in zip(LETTERS, PLANS, strict=True):
        assert f"{letter}. {MEANING[plan]}" in prompt
    assert prompt.endswith("letter")  # the next token is one
