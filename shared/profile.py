"""DeviceProfile: what a device can hold, and therefore how it ranks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DeviceProfile(BaseModel):
    """Limits of a device class; a field of the settings and of every bundle manifest.

    The profile decides what the encoder may see and which items can be ranked, so it is fixed
    when a bundle is trained: a device refuses a bundle made for another profile.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "small"
    window: int = Field(default=50, ge=1, le=200, description="events the encoder sees")
    item_table: bool = Field(
        default=True, description="the device holds vectors of all items, not only of candidates"
    )
    unite_history: bool = Field(
        default=True, description="rank the cloud's candidates united with the device's own history"
    )
    local_candidates: int = Field(
        default=0, ge=0, description="items re-retrieved from the local table at each request"
    )
    retain: Literal["window", "all"] = Field(
        default="all",
        description="history kept for repeat filtering and the abstract's long-term profile",
    )
