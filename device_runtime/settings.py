"""A device and how it reaches the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from shared.plugins import PluginKind, PluginName
from shared.section import Section

# Refresh policies that are held to a share of the requests.
BudgetedPolicy = Literal[
    "random",
    "drift",
    "reliability",
    "inconsistency",
    "inconsistency-top10",
    "expected-gain",
    "accumulated-drift",
    "accumulated-gain",
    "indexed-drift",
]
BUDGETED: tuple[str, ...] = get_args(BudgetedPolicy)
Policy = Literal["every-k", "always", "never", "time-to-live", BudgetedPolicy]
POLICIES = PluginKind(
    group="scalrec.refresh_policies",
    noun="refresh policy",
    setting="device.policy",
    built_in=get_args(Policy),
)


class LinkSettings(Section):
    """How a device reaches the cloud, and when it gives up."""

    url: str | None = Field(
        default=None, description="cloud that `scalrec fleet` asks; `simulate` starts its own"
    )
    deadline_s: float = Field(default=5.0, gt=0, description="one refresh, all retries included")
    attempts: int = Field(default=3, ge=1, description="of one refresh, the first among them")
    retry_budget: float = Field(default=0.2, ge=0, description="retries per first attempt, at most")
    breaker_failures: int = Field(default=5, ge=1, description="failures in a row that open it")
    breaker_open_s: float = Field(
        default=5.0, gt=0, description="how long an open breaker lets nothing pass"
    )


class DeviceSettings(Section):
    """The device runtime."""

    policy: Policy | PluginName = Field(
        default="every-k",
        description="when a device asks the cloud: by count (every-k: see k), by age "
        "(time-to-live: see ttl_s), or for a share of requests (see budget), namely random ones or "
        "those where the user drifted most, the snapshot's estimated reliability is lowest, the "
        "device's ranking is most inconsistent with the cloud's (over the whole list, or over the "
        "first ten of either: inconsistency-top10), or a model in the bundle expects "
        "a fresh snapshot to gain most (expected-gain), or where drift or expected gain, added up "
        "since the last attempt, are most (accumulated-drift, accumulated-gain), or where drift is "
        "most above what it was since then (indexed-drift); or the name of a policy that an "
        "installed package brings",
    )
    k: int = Field(default=5, ge=1, description="every-k: refresh after every k requests")
    ttl_s: float = Field(
        default=45.0,
        gt=0,
        description="time-to-live: refresh a snapshot this old; seconds of the device's clock, so "
        "replayed ones in a replay",
    )
    budget: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="random, drift, reliability, inconsistency, inconsistency-top10, "
        "expected-gain, accumulated-drift, accumulated-gain, indexed-drift: share of the requests "
        "that may ask the cloud",
    )
    budget_scope: Literal["device", "fleet"] = Field(
        default="device",
        description="whose requests the budget is a share of; device: of each device's own; fleet: "
        "of all devices of a process, so that those ask whose need is greatest",
    )
    ranking: Literal["semantic", "collaborative"] = Field(
        default="semantic",
        description="how a device ranks a snapshot's candidates; semantic: by its own scores and "
        "<e_sem, v>, corrected where calibrate says so (SCaLRec); collaborative: by its own scores "
        "and those that came with the candidates, both normalised over the list (LSC4Rec eqs. "
        "8-10; see initial_share), as suits cloud.candidates_from=generative",
    )
    initial_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="collaborative: share of the cloud's initial scores, alpha of LSC4Rec eq. 10; "
        "0: the device's scores alone, 1: the cloud's; unset: the bundle's, chosen on validation "
        "requests where it has a generator, else 0.1",
    )
    adaptation_rate: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="collaborative: step size of the device's own re-training on its latest "
        "events, LSC4Rec eq. 7; 0: none; unset: the bundle's, chosen likewise, else none",
    )
    calibrate: bool = Field(
        default=True,
        description="semantic: correct a stale snapshot; false takes it at face value",
    )
    cache_dir: Path | None = Field(default=None, description="snapshots kept across restarts")
    link: LinkSettings = LinkSettings()
