"""Oracles against trying every set of refreshes."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.studies.frontier.drive import Course
from experiments.studies.frontier.oracle import best_of_fleet, best_under_price, best_with_calls
from tests.support.tiers import examples

LENGTH = 7


def drawn(seed: int, users: int = 2, length: int = LENGTH) -> NDArray[np.float64]:
    values = np.random.default_rng(seed).integers(0, 9, (users, length, length)) / 8.0
    values[:, *np.triu_indices(length, 1)] = np.nan
    return values


def worth(values: NDArray[np.float64], refreshes: tuple[int, ...]) -> float:
    """Sum over the requests 1 .. of one user's values [T, T]."""
    total, held = 0.0, 0
    for now in range(1, len(values)):
        total += values[now, held]
        held = now if now in refreshes else held
    return total


def every_plan(values: NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    requests = range(1, len(values))
    plans = (plan for n in range(len(values)) for plan in combinations(requests, n))
    return {plan: worth(values, plan) for plan in plans}


def worths(values: NDArray[np.float64], course: Course) -> list[float]:
    """Of every user; also checks that held follows from the refreshes."""
    found = []
    for user, asked in enumerate(course.asked):
        total = course.outcome(values)[user].sum()
        assert total == pytest.approx(worth(values[user], tuple(np.flatnonzero(asked).tolist())))
        found.append(float(total))
    return found


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10_000), price=st.sampled_from([0.0, 0.1, 0.3, 0.7, 2.0]))
def test_the_priced_plan_is_the_best_of_all(seed: int, price: float) -> None:
    values = drawn(seed)
    course = best_under_price(values, price)
    for user, total in enumerate(worths(values, course)):
        calls = int(course.asked[user].sum())
        best = max(v - price * len(plan) for plan, v in every_plan(values[user]).items())
        assert total - price * calls == pytest.approx(best)


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10_000), calls=st.integers(0, LENGTH))
def test_the_plan_of_so_many_calls_is_the_best_of_all(seed: int, calls: int) -> None:
    values = drawn(seed)
    course = best_with_calls(values, calls)
    assert course.asked.sum(1).max() <= calls
    for user, total in enumerate(worths(values, course)):
        plans = every_plan(values[user])
        assert total == pytest.approx(max(v for p, v in plans.items() if len(p) <= calls))


@pytest.mark.parametrize("seed", range(8))
def test_the_fleets_plan_is_the_best_for_the_calls_it_uses(seed: int) -> None:
    values = drawn(seed, users=3, length=5)
    for calls in (0, 1, 3, 6):
        course = best_of_fleet(values, calls)
        used = int(course.asked.sum())
        assert used <= calls
        best = max(
            sum(v for _, v in plan)
            for plan in product(*(every_plan(user).items() for user in values))
            if sum(len(refreshes) for refreshes, _ in plan) <= used
        )
        assert sum(worths(values, course)) == pytest.approx(best)


def test_no_call_is_made_that_wins_nothing() -> None:
    values = np.ones((2, LENGTH, LENGTH))
    assert not best_under_price(values, 0.0).asked.any()
    assert not best_of_fleet(values, 100).asked.any()
    assert not best_with_calls(values, 3).asked.any()
