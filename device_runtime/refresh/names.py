"""The refresh policies, and how devices rank, by their names in the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeGuard, assert_never

import numpy as np

from device_runtime.refresh.budgeted import (
    Accumulated,
    Budget,
    Budgeted,
    RefreshIndex,
    drift_score,
    inconsistency_score,
    no_score,
    top_inconsistency_score,
    unreliability_score,
)
from device_runtime.refresh.call_budget import CallBudget
from device_runtime.refresh.policy import (
    Always,
    EveryK,
    GainModel,
    Never,
    RefreshPolicy,
    TimeToLive,
)
from device_runtime.settings import BUDGETED, POLICIES, DeviceSettings, Policy
from shared.bundle import CollaborationSpec
from shared.errors import ConfigError
from shared.refresh_file import CallRates

# How a package makes a policy of its own for one device; the generator is the device's.
PolicyMaker = Callable[[DeviceSettings, np.random.Generator], RefreshPolicy]

FLEET_WINDOW = 1024  # past scores that a fleet's new ones are ranked among
FLEET_TOLERANCE = 0.05  # a fleet's account is never further off its budget than this, or SLACK


def make_policy(
    settings: DeviceSettings,
    rng: np.random.Generator,
    *,
    gain: GainModel | None = None,
    known: Mapping[str, CallRates] | None = None,
    fleet: Budget | None = None,
    other: PolicyMaker | None = None,
) -> RefreshPolicy:
    """A new instance of what ``device.policy`` names, for one device.

    Args:
        settings: the policy and its parameter: k, ttl_s or budget.
        rng: the device's own, for policies that draw.
        gain: what expected-gain asks; of the bundle.
        known: policy -> what its score meant on training data; of the bundle. A policy that is
            not named there starts from nothing.
        fleet: one for all devices of a fleet, from ``make_fleet_budget``; None: each its own.
        other: makes the policy that an installed package brings under that name, if one does.

    Raises:
        ConfigError: expected-gain without ``gain``; a name that is not built in without ``other``,
            or what that makes is no policy.
    """
    name = settings.policy
    if not _built_in(name):
        return _others(settings, rng, other)
    match name:
        case "every-k":
            return EveryK(settings.k)
        case "always":
            return Always()
        case "never":
            return Never()
        case "time-to-live":
            return TimeToLive(settings.ttl_s)
    budget = fleet or CallBudget(settings.budget, rng, known=(known or {}).get(name))
    match name:
        case "random":
            return Budgeted(no_score, budget)
        case "drift":
            return Budgeted(drift_score, budget)
        case "reliability":
            return Budgeted(unreliability_score, budget)
        case "inconsistency":
            return Budgeted(inconsistency_score, budget, compares_rankings=True)
        case "inconsistency-top10":
            return Budgeted(top_inconsistency_score, budget, compares_rankings=True)
        case "accumulated-drift":
            return Budgeted(Accumulated(drift_score), budget)
        case "indexed-drift":
            return Budgeted(RefreshIndex(drift_score), budget)
        case "expected-gain" | "accumulated-gain":
            if gain is None:
                raise ConfigError(
                    f"device.policy={name} needs a bundle that holds a gain model, and "
                    "this one has none; train and export it again, or choose another policy"
                )
            score = gain.expected_gain
            if name == "accumulated-gain":
                score = Accumulated(score)
            return Budgeted(score, budget, compares_rankings=True)
        case _:
            assert_never(name)


def _built_in(name: str) -> TypeGuard[Policy]:
    return name in POLICIES.built_in


def _others(
    settings: DeviceSettings, rng: np.random.Generator, make: PolicyMaker | None
) -> RefreshPolicy:
    if make is None:
        raise ConfigError(POLICIES.unknown(settings.policy))
    policy = make(settings, rng)
    if not callable(getattr(policy, "wants_refresh", None)):
        raise ConfigError(
            f"device.policy={settings.policy} makes {type(policy).__name__}, which is no refresh "
            "policy: it has no method wants_refresh"
        )
    if not isinstance(getattr(policy, "compares_rankings", None), bool):
        raise ConfigError(
            f"device.policy={settings.policy} makes {type(policy).__name__}, which does not say "
            "by compares_rankings (True or False) whether it reads inconsistencies"
        )
    return policy


def make_fleet_budget(
    settings: DeviceSettings,
    rng: np.random.Generator,
    known: Mapping[str, CallRates] | None = None,
) -> Budget | None:
    """What the devices of one fleet share under ``device.budget_scope = fleet``; else None.

    Several fleets each keep the share on their own requests, and so together keep it too.
    """
    if settings.budget_scope != "fleet" or settings.policy not in BUDGETED:
        return None
    return CallBudget(
        settings.budget,
        rng,
        known=(known or {}).get(settings.policy),
        window=FLEET_WINDOW,
        tolerance=FLEET_TOLERANCE,
    )


def policy_text(settings: DeviceSettings) -> str:
    """The policy and its parameter in words, as reports print it."""
    match settings.policy:
        case "every-k":
            return f"every-k, k = {settings.k}"
        case "always" | "never":
            return settings.policy
        case "time-to-live":
            return f"time-to-live, {settings.ttl_s:g} s"
        case name if name not in BUDGETED:
            return name
        case _:
            shared = " of the fleet's requests" if settings.budget_scope == "fleet" else ""
            return f"{settings.policy}, budget = {settings.budget:g}{shared}"


def collaboration(
    settings: DeviceSettings, bundle: CollaborationSpec | None
) -> CollaborationSpec | None:
    """How devices collaborate where ``device.ranking`` asks for it; else None.

    Args:
        bundle: what the bundle's manifest says; the settings that are given go before it.
    """
    if settings.ranking != "collaborative":
        return None
    given = {"initial_share": settings.initial_share, "adaptation_rate": settings.adaptation_rate}
    known = {name: value for name, value in given.items() if value is not None}
    return (bundle or CollaborationSpec()).model_copy(update=known)


def ranking_text(settings: DeviceSettings, bundle: CollaborationSpec | None) -> str:
    """The ranking and its parameters in words, as reports print it; ``bundle`` as above."""
    spec = collaboration(settings, bundle)
    if spec is None:
        return "semantic, calibrated" if settings.calibrate else "semantic, uncalibrated"
    text = f"collaborative, alpha = {spec.initial_share:g}"
    if spec.adaptation_rate:
        text += f", adapting at rate {spec.adaptation_rate:g}"
    return text
