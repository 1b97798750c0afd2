import math

import numpy as np
import pytest

from device_runtime.refresh.budgeted import Budgeted, no_score
from device_runtime.refresh.call_budget import CallBudget
from device_runtime.refresh.names import make_policy
from device_runtime.refresh.policy import RefreshPolicy, RefreshState
from device_runtime.settings import DeviceSettings

# Of every policy the cue that it reads, and the sign of the need.
FIELDS = {
    "drift": ("drift", 1.0),
    "reliability": ("r", -1.0),
    "inconsistency": ("inconsistency", 1.0),
    "inconsistency-top10": ("inconsistency_top", 1.0),
}


def state(
    requests: int = 1, *, has_snapshot: bool = True, in_flight: bool = False, **cues: float
) -> RefreshState:
    cues = {"drift": 0.1, "r": 0.9, "inconsistency": 2.0, "inconsistency_top": 1.0} | cues
    return RefreshState(
        requests_since_attempt=requests,
        has_snapshot=has_snapshot,
        in_flight=in_flight,
        delta=3,
        omega=0.5,
        drift=cues["drift"],
        r=cues["r"],
        inconsistency=cues["inconsistency"],
        inconsistency_top=cues["inconsistency_top"],
    )


def new(name: str, budget: float = 0.1, seed: int = 0) -> RefreshPolicy:
    settings = DeviceSettings.model_validate({"policy": name, "budget": budget})
    return make_policy(settings, np.random.default_rng(seed))


@pytest.mark.parametrize("name", FIELDS)
def test_each_asks_where_its_own_cue_says_so(name: str) -> None:
    """High drift, low r, high inconsistency; the other cues are noise to it."""
    rng = np.random.default_rng(3)
    cues = {cue: rng.random(3000) for cue, _ in FIELDS.values()}
    policy = new(name)
    asked = np.array(
        [
            policy.wants_refresh(state(**{cue: values[t] for cue, values in cues.items()}))
            for t in range(3000)
        ]
    )
    own, sign = FIELDS[name]
    for cue, values in cues.items():
        shift = values[asked].mean() - 0.5
        if cue == own:
            assert shift * sign > 0.3
        else:
            assert abs(shift) < 0.06


def test_random_heeds_no_cue() -> None:
    rng = np.random.default_rng(3)
    drift, policy = rng.random(3000), new("random")
    asked = np.array([policy.wants_refresh(state(drift=d, r=1 - d)) for d in drift])
    assert asked.mean() == pytest.approx(0.1, abs=0.01)
    assert abs(drift[asked].mean() - 0.5) < 0.06


@pytest.mark.parametrize("name", ["random", *FIELDS])
def test_without_a_snapshot_it_asks_at_once_and_an_outage_stays_within_the_budget(
    name: str,
) -> None:
    policy = new(name, 0.1)
    unknown = {cue: math.nan for cue, _ in FIELDS.values()}
    asked = [policy.wants_refresh(state(has_snapshot=False, **unknown)) for _ in range(500)]
    assert asked[0]
    assert np.mean(asked) == pytest.approx(0.1, rel=0.1)


def test_a_first_snapshot_before_the_first_request_is_free() -> None:
    warm, cold = (Budgeted(no_score, CallBudget(0.2, np.random.default_rng(4))) for _ in range(2))
    assert all(warm.wants_refresh(state(0, has_snapshot=False)) for _ in range(50))
    assert not warm.wants_refresh(state(0, has_snapshot=False, in_flight=True))
    assert not warm.wants_refresh(state(0))
    decisions = [[p.wants_refresh(state()) for _ in range(200)] for p in (warm, cold)]
    assert decisions[0] == decisions[1]


def test_requests_during_a_refresh_count_but_never_ask() -> None:
    """Refreshes that take three requests each leave room for one call in four."""
    policy, busy, asked = new("drift", 0.2), 0, []
    rng = np.random.default_rng(6)
    for _ in range(2000):
        asked.append(policy.wants_refresh(state(in_flight=busy > 0, drift=rng.random())))
        assert not (busy and asked[-1])
        busy = 3 if asked[-1] else max(0, busy - 1)
    assert np.mean(asked) == pytest.approx(0.2, rel=0.1)
