from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from device_runtime.policies import make_policy, policy_text
from device_runtime.refresh import Always, EveryK, Never
from device_runtime.refresh_budget import Budgeted
from device_runtime.refresh_ttl import TimeToLive
from shared.settings import DeviceSettings

NAMES = get_args(DeviceSettings.model_fields["policy"].annotation)
BUDGETED = ("random", "drift", "reliability", "inconsistency")


def settings(**fields: object) -> DeviceSettings:
    return DeviceSettings.model_validate(fields)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_policies_come_from_settings() -> None:
    assert make_policy(settings(), rng()) == EveryK(5)
    assert make_policy(settings(policy="every-k", k=7), rng()) == EveryK(7)
    assert make_policy(settings(policy="always"), rng()) == Always()
    assert make_policy(settings(policy="never"), rng()) == Never()
    assert make_policy(settings(policy="time-to-live", ttl_s=9), rng()) == TimeToLive(9.0)
    for name in BUDGETED:
        assert isinstance(make_policy(settings(policy=name), rng()), Budgeted)
    assert {"every-k", "always", "never", "time-to-live", *BUDGETED} == set(NAMES)


def test_only_inconsistency_costs_the_request_path_a_comparison() -> None:
    comparing = [n for n in NAMES if make_policy(settings(policy=n), rng()).compares_rankings]
    assert comparing == ["inconsistency"]


def test_each_is_named_with_its_own_parameter_and_no_other() -> None:
    texts = {n: policy_text(settings(policy=n, k=4, ttl_s=2.5, budget=0.05)) for n in NAMES}
    assert texts == {
        "every-k": "every-k, k = 4",
        "always": "always",
        "never": "never",
        "time-to-live": "time-to-live, 2.5 s",
        **{name: f"{name}, budget = 0.05" for name in BUDGETED},
    }


@pytest.mark.parametrize(
    "wrong", [{"policy": "often"}, {"budget": 0}, {"budget": 1.5}, {"ttl_s": 0}, {"ttl_s": -1}]
)
def test_what_no_policy_can_do_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        settings(**wrong)
