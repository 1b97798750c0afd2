"""A fleet's common budget holds after a few requests per device, whatever their scores do."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.refresh.call_budget import SLACK
from device_runtime.refresh.names import FLEET_TOLERANCE, make_fleet_budget
from device_runtime.settings import DeviceSettings
from shared.refresh_file import CallRates

DEVICES = 150
BUDGETS = (0.05, 0.1, 0.2, 0.4)


def fleet(share, seed, known=None):
    device = DeviceSettings(policy="drift", budget=share, budget_scope="fleet")
    return make_fleet_budget(device, np.random.default_rng(seed), known)


@st.composite
def fleets(draw):
    """Scores of 10 to 20 requests of every device, in one order: own levels, trends, a jump."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread, slope = draw(st.floats(0, 10)), draw(st.floats(-2, 2))
    jump, noise = draw(st.floats(-50, 50)), draw(st.sampled_from([0.0, 0.1, 5.0]))
    counts = rng.integers(10, 21, DEVICES)
    device = rng.permutation(np.repeat(np.arange(DEVICES), counts))
    t = np.arange(len(device))
    late = t > draw(st.floats(0.1, 0.9)) * len(t)
    level = spread * rng.standard_normal(DEVICES)[device]
    return level + slope * t / 100 + jump * late + noise * rng.standard_normal(len(t))


@st.composite
def curves(draw):
    """What some other scores meant on some other data."""
    low, width = draw(st.floats(-20, 20)), draw(st.floats(0.1, 50))
    return {"drift": CallRates(thresholds=(low, low + width), rates=(1.0, 0.0))}


@pytest.mark.parametrize("share", BUDGETS)
@settings(max_examples=12, deadline=None)
@given(scores=fleets(), seed=st.integers(0, 2**32), known=st.one_of(st.none(), curves()))
def test_the_fleet_as_a_whole_keeps_its_share(share, scores, seed, known):
    budget = fleet(share, seed, known)
    asked = np.array([budget.decide(score) for score in scores])
    assert asked.mean() == pytest.approx(share, rel=0.1)
    earned = share * np.arange(1, len(scores) + 1)
    off = np.abs(np.cumsum(asked) - earned)
    assert np.all(off <= np.maximum(SLACK, FLEET_TOLERANCE * earned) + 1.5)


@pytest.mark.parametrize("share", BUDGETS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), outage=st.tuples(st.floats(0, 0.5), st.floats(0.05, 0.4)))
def test_devices_without_a_snapshot_come_first_and_within_the_share(share, seed, outage):
    """All start with none; some first calls are in vain, because the cloud is away."""
    rng = np.random.default_rng(seed)
    budget, asked = fleet(share, seed), []
    held = np.zeros(DEVICES, dtype=bool)
    order = rng.permutation(np.repeat(np.arange(DEVICES), 15))
    start = int(outage[0] * len(order))
    stop = start + int(outage[1] * len(order))
    with_one = []
    for place, device in enumerate(order):
        had = bool(held[device])
        score = float(rng.standard_normal()) if had else math.inf
        asked.append(budget.decide(score))
        if asked[-1]:
            with_one.append(had)
            held[device] |= not start <= place < stop
    assert np.mean(asked) == pytest.approx(share, rel=0.1)
    first = with_one[: max(1, int(0.5 * min(share * len(order), DEVICES)))]
    assert np.mean(first) < 0.5  # most of the first calls give a device its first snapshot


def test_the_devices_in_need_get_what_the_others_do_not_use():
    """With a budget of its own every device asks alike; a fleet's goes where scores are high."""
    rng = np.random.default_rng(3)
    needy = rng.random(DEVICES) < 0.2
    order = rng.permutation(np.repeat(np.arange(DEVICES), 20))
    budget = fleet(0.2, 0)
    asked = np.array(
        [budget.decide(2.0 * needy[device] + rng.standard_normal()) for device in order]
    )
    assert asked[needy[order]].mean() > 4 * asked[~needy[order]].mean()
