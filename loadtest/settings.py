"""The fleet that replays a log, when it can reach the cloud, and its live view."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from device_runtime.settings import DeviceSettings
from shared.profile import DEFAULT, DeviceProfile
from shared.section import MAX_SEED, Section


class AvailabilitySettings(Section):
    """When the cloud can be reached during a replay."""

    kind: Literal["always", "never", "periodic"] = Field(
        default="periodic",
        description="always: the cloud can be reached; never: it cannot; periodic: an outage in "
        "every period",
    )
    period_s: float = Field(default=30.0, gt=0, description="seconds from one outage to the next")
    outage_s: float = Field(default=10.0, ge=0, description="at the end of every period")
    failure: Literal["refuse", "hang"] = Field(
        default="refuse",
        description="how a gone cloud looks: refuse: connections fail at once; hang: no answer "
        "until the device's deadline",
    )


class ReplaySettings(Section):
    """The fleet: interactions as open-loop request traffic."""

    clock: Literal["wall", "virtual"] = Field(
        default="wall",
        description="wall: requests are made at their times, over sockets; virtual: in one "
        "process, as quickly as it can, and the same in every run",
    )
    users: int = Field(default=300, ge=1, description="devices, sampled from users with test steps")
    steps: int = Field(default=10, ge=1, description="last events of each user that are replayed")
    duration_s: float = Field(default=90.0, gt=0, description="replayed time, if speed_up is unset")
    speed_up: float | None = Field(
        default=None, gt=0, description="log seconds per replayed second"
    )
    align: Literal["none", "users"] = Field(
        default="users",
        description="none: the log's own clock; users: every user's timeline is stretched over the "
        "whole replay, so that devices are active together even if the log's users never met",
    )
    cloud_latency_s: float = Field(
        default=0.05, ge=0, description="modelled mean cloud latency under the virtual clock"
    )
    warm_start: bool = Field(
        default=True,
        description="devices have used the cloud before the replay: each starts with a snapshot "
        "that is 1 to k requests old",
    )
    devices_per_link: int = Field(
        default=50, ge=1, description="devices that share one circuit breaker and retry budget"
    )
    max_refreshes: int = Field(
        default=64, ge=1, description="refreshes in flight in the fleet; further ones are skipped"
    )
    availability: AvailabilitySettings = AvailabilitySettings()


class FleetSettings(Section):
    """What a replay is made from."""

    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="of everything that is drawn")
    profile: DeviceProfile = DEFAULT
    device: DeviceSettings = DeviceSettings()
    replay: ReplaySettings = ReplaySettings()


class DashboardSettings(Section):
    """The live view of a running fleet."""

    host: str = Field(default="127.0.0.1", description="address the live view is served at")
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="serve the live view from the process of the fleet; 0 picks a free port",
    )
    stay: bool = Field(
        default=True, description="on a terminal, keep the page after the run until Ctrl-C"
    )
    push_url: str | None = Field(
        default=None, description="report to a `scalrec dashboard` there instead"
    )
    token: SecretStr | None = Field(
        default=None, description="what a `scalrec dashboard` asks of processes that report to it"
    )
    run: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$",
        description="name of the run, the same for all its processes; unset: its folder's",
    )
    allow_hosts: tuple[str, ...] = Field(
        default=(), description="names the page is reached by, beside those of the loopback"
    )
