import numpy as np
import pytest
from pydantic import ValidationError

from device_runtime.refresh.budgeted import Budgeted
from device_runtime.refresh.names import make_fleet_budget, make_policy, policy_text
from device_runtime.refresh.policy import (
    Always,
    EveryK,
    Never,
    RefreshPolicy,
    RefreshState,
    TimeToLive,
)
from device_runtime.settings import BUDGETED, POLICIES, DeviceSettings
from shared.errors import ConfigError

NAMES = POLICIES.built_in


class LengthGain:
    """Expects more of a refresh the longer the history is."""

    def expected_gain(self, state: RefreshState) -> float:
        return float("nan") if state.cues is None else float(state.cues[3])


def settings(**fields: object) -> DeviceSettings:
    return DeviceSettings.model_validate(fields)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def policy(**fields: object) -> RefreshPolicy:
    return make_policy(settings(**fields), rng(), gain=LengthGain())


def test_policies_come_from_settings() -> None:
    assert make_policy(settings(), rng()) == EveryK(5)
    assert make_policy(settings(policy="every-k", k=7), rng()) == EveryK(7)
    assert make_policy(settings(policy="always"), rng()) == Always()
    assert make_policy(settings(policy="never"), rng()) == Never()
    assert make_policy(settings(policy="time-to-live", ttl_s=9), rng()) == TimeToLive(9.0)
    for name in BUDGETED:
        assert isinstance(policy(policy=name), Budgeted)
    assert {"every-k", "always", "never", "time-to-live", *BUDGETED} == set(NAMES)


def test_only_what_reads_it_costs_the_request_path_a_comparison() -> None:
    comparing = [n for n in NAMES if policy(policy=n).compares_rankings]
    assert comparing == [
        "inconsistency",
        "inconsistency-top10",
        "expected-gain",
        "accumulated-gain",
    ]


def test_expected_gain_needs_a_model_of_it() -> None:
    with pytest.raises(ConfigError, match="train and export it again"):
        make_policy(settings(policy="expected-gain"), rng())
    cues = np.zeros(8, np.float32)
    one = policy(policy="expected-gain", budget=0.1)
    asked, lengths = [], np.random.default_rng(1).random(2000)
    for length in lengths:
        cues[3] = length
        asked.append(
            one.wants_refresh(
                RefreshState(
                    requests_since_attempt=1,
                    has_snapshot=True,
                    in_flight=False,
                    delta=3,
                    omega=0.5,
                    drift=0.1,
                    r=0.9,
                    cues=cues,
                )
            )
        )
    assert np.mean(asked) == pytest.approx(0.1, rel=0.1)
    assert lengths[np.array(asked)].mean() > 0.8


def test_a_fleet_shares_a_budget_if_the_policy_has_one() -> None:
    for name in NAMES:
        shared = make_fleet_budget(settings(policy=name, budget_scope="fleet"), rng())
        assert (shared is not None) == (name in BUDGETED)
        assert make_fleet_budget(settings(policy=name), rng()) is None
    shared = make_fleet_budget(settings(policy="drift", budget_scope="fleet"), rng())
    one = make_policy(settings(policy="drift"), rng(), fleet=shared)
    assert isinstance(one, Budgeted)
    assert one.budget is shared


def test_each_is_named_with_its_own_parameter_and_no_other() -> None:
    texts = {n: policy_text(settings(policy=n, k=4, ttl_s=2.5, budget=0.05)) for n in NAMES}
    assert texts == {
        "every-k": "every-k, k = 4",
        "always": "always",
        "never": "never",
        "time-to-live": "time-to-live, 2.5 s",
        **{name: f"{name}, budget = 0.05" for name in BUDGETED},
    }
    of_a_fleet = settings(policy="drift", budget=0.1, budget_scope="fleet")
    assert policy_text(of_a_fleet) == "drift, budget = 0.1 of the fleet's requests"


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy": 3},
        {"budget": 0},
        {"budget": 1.5},
        {"ttl_s": 0},
        {"ttl_s": -1},
        {"budget_scope": "all"},
    ],
)
def test_what_no_policy_can_do_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        settings(**wrong)


def test_a_name_of_a_package_is_made_by_its_maker() -> None:
    asked = []

    def make(settings: DeviceSettings, own: np.random.Generator) -> RefreshPolicy:
        asked.append((settings.k, own))
        return Always()

    mine, own = settings(policy="mine", k=9), rng()
    assert make_policy(mine, own, other=make) == Always()
    assert asked == [(9, own)]
    assert policy_text(mine) == "mine"
    assert make_policy(settings(policy="never"), own, other=make) == Never()
    with pytest.raises(ConfigError, match=r"device\.policy: no refresh policy is called 'mine'"):
        make_policy(mine, own)
