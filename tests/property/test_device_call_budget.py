"""A device's budget holds online, whatever its scores do."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.refresh.call_budget import SLACK, CallBudget
from tests.support.tiers import examples

REQUESTS = 2000
BUDGETS = (0.05, 0.1, 0.2, 0.4)


@st.composite
def drifting(draw):
    """[REQUESTS] scores: stretches of trends, jumps, waves and noise of any scale, ties too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cuts = sorted(draw(st.lists(st.integers(1, REQUESTS - 1), max_size=6)))
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, REQUESTS], strict=True):
        t = np.arange(stop - start)
        level, scale = draw(st.floats(-100, 100)), draw(st.sampled_from([0.0, 0.01, 1.0, 50.0]))
        slope, wave = draw(st.floats(-1, 1)), draw(st.floats(0, 20))
        noise = scale * rng.standard_normal(len(t))
        parts.append(level + slope * t + wave * np.sin(t / 40.0) + noise)
    return np.concatenate(parts)


@pytest.mark.parametrize("share", BUDGETS)
@settings(max_examples=examples(40), deadline=None)
@given(scores=drifting(), seed=st.integers(0, 2**32))
def test_realised_calls_are_within_ten_percent_of_the_budget(share, scores, seed):
    budget = CallBudget(share, np.random.default_rng(seed))
    asked = np.array([budget.decide(score) for score in scores])
    assert asked.mean() == pytest.approx(share, rel=0.1)
    off = np.cumsum(asked) - share * np.arange(1, REQUESTS + 1)
    assert np.abs(off).max() <= SLACK + 1.5  # at every moment, half a call of it the start's


@pytest.mark.parametrize("share", BUDGETS)
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_it_holds_when_every_call_resets_the_score(share, power):
    """As drift does: it grows with the snapshot's age and falls with a new snapshot."""
    rng = np.random.default_rng(11)
    budget, age, asked = CallBudget(share, rng), 1, []
    for _ in range(REQUESTS):
        asked.append(budget.decide(age**power + 0.2 * rng.standard_normal()))
        age = 1 if asked[-1] else age + 1
    assert np.mean(asked) == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("share", BUDGETS)
@given(
    scores=st.lists(
        st.one_of(st.floats(-1e300, 1e300), st.just(math.nan), st.just(math.inf)), max_size=200
    ),
    seed=st.integers(0, 2**32),
)
def test_no_score_breaks_the_account(share, scores, seed):
    budget = CallBudget(share, np.random.default_rng(seed))
    asked = [budget.decide(score) for score in scores]
    assert abs(sum(asked) - share * len(scores)) <= SLACK + 1.5
