"""The refresh policies by their names in the settings."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from device_runtime.call_budget import CallBudget
from device_runtime.refresh import Always, EveryK, Never, RefreshPolicy
from device_runtime.refresh_budget import (
    Budgeted,
    drift_score,
    inconsistency_score,
    no_score,
    unreliability_score,
)
from device_runtime.refresh_ttl import TimeToLive
from shared.settings import DeviceSettings


def make_policy(settings: DeviceSettings, rng: np.random.Generator) -> RefreshPolicy:
    """A new instance of what ``device.policy`` names, for one device.

    Args:
        settings: the policy and its parameter: k, ttl_s or budget.
        rng: the device's own, for policies that draw.
    """
    match settings.policy:
        case "every-k":
            return EveryK(settings.k)
        case "always":
            return Always()
        case "never":
            return Never()
        case "time-to-live":
            return TimeToLive(settings.ttl_s)
        case "random":
            return Budgeted(no_score, CallBudget(settings.budget, rng))
        case "drift":
            return Budgeted(drift_score, CallBudget(settings.budget, rng))
        case "reliability":
            return Budgeted(unreliability_score, CallBudget(settings.budget, rng))
        case "inconsistency":
            budget = CallBudget(settings.budget, rng)
            return Budgeted(inconsistency_score, budget, compares_rankings=True)
        case _:
            assert_never(settings.policy)


def policy_text(settings: DeviceSettings) -> str:
    """The policy and its parameter in words, as reports print it."""
    match settings.policy:
        case "every-k":
            return f"every-k, k = {settings.k}"
        case "always" | "never":
            return settings.policy
        case "time-to-live":
            return f"time-to-live, {settings.ttl_s:g} s"
        case "random" | "drift" | "reliability" | "inconsistency":
            return f"{settings.policy}, budget = {settings.budget:g}"
        case _:
            assert_never(settings.policy)
