"""Ages between refreshes, and weights of scored ages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalrec.advice.ages import ages_between_refreshes, scored_weights

SCORED = (0, 1, 2, 5, 10, 20)


def test_a_device_holds_every_age_below_the_interval_once() -> None:
    assert list(ages_between_refreshes(1)) == [0]
    assert list(ages_between_refreshes(4)) == [0, 1, 2, 3]
    assert list(ages_between_refreshes(3, late=True)) == [1, 2, 3]
    with pytest.raises(ValueError, match="not 0"):
        ages_between_refreshes(0)


def test_scored_ages_weigh_what_is_between_them() -> None:
    assert scored_weights([0], SCORED) == {0: 1.0}
    assert scored_weights([0, 1, 2], SCORED) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    # log(1 + 3) lies half-way from log(1 + 1) to log(1 + 7).
    assert scored_weights([3], (1, 7)) == pytest.approx({1: 0.5, 7: 0.5})


@given(
    interval=st.integers(1, 20),
    late=st.booleans(),
    extra=st.sets(st.integers(1, 19)),
    fall=st.floats(-1, 1),
)
def test_the_mean_of_what_is_linear_in_log_age_is_exact(
    interval: int, late: bool, extra: set[int], fall: float
) -> None:
    ages = ages_between_refreshes(interval, late=late)
    weights = scored_weights(ages, [0, 20, *extra])

    def score(age: int) -> float:
        return 0.3 - fall * math.log1p(age)

    assert sum(weights.values()) == pytest.approx(1.0)
    found = sum(w * score(age) for age, w in weights.items())
    assert found == pytest.approx(sum(map(score, ages)) / interval)


@pytest.mark.parametrize(
    ("ages", "scored"), [([0, 6], (0, 5)), ([1], (2, 5)), ([0], ()), ([], (0,))]
)
def test_nothing_is_extrapolated(ages: list[int], scored: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="age"):
        scored_weights(ages, scored)
