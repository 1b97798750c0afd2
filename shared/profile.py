"""DeviceProfile: what a device can hold, and therefore how it ranks; and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.strict import Strict

Table = Literal["none", "float32", "int8"]

SHORTLIST = 100  # items ranked without a snapshot, unless the profile says otherwise


class DeviceProfile(Strict):
    """Limits of a device class; a field of the settings and of every bundle manifest.

    The profile decides what the encoder may see and which items can be ranked, so it is fixed
    when a bundle is trained: a device refuses a bundle made for another profile.
    """

    name: str = Field(default="small", description="what reports and bundles call it")
    window: int = Field(default=50, ge=1, le=200, description="events the encoder sees")
    table: Table = Field(
        default="float32",
        description="vectors of all items on the device: float32; int8 with one scale per item; or "
        "none, and the device knows those of items it met, which item pages and snapshots carry",
    )
    unite_history: bool = Field(
        default=True,
        description="rank the cloud's candidates united with what the device itself knows: its own "
        "history, and without a table the items that came with the models",
    )
    local_candidates: int = Field(
        default=0, ge=0, description="items re-retrieved from the local table at each request"
    )
    retain: Literal["window", "all"] = Field(
        default="all",
        description="history kept for repeat filtering and the abstract's long-term profile",
    )
    met_items: int = Field(
        default=256,
        ge=1,
        le=65_536,
        description="without a table: own items whose vectors are kept, the last used ones",
    )
    starter_items: int = Field(
        default=100,
        ge=1,
        le=65_536,
        description="without a table: most popular items whose vectors ship with the models; "
        "ranked beside a snapshot's, and alone without one",
    )

    @property
    def vectors_in_snapshot(self) -> bool:
        """Snapshots bring their candidates' vectors, because the device has no table."""
        return self.table == "none"

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.table == "none" and self.local_candidates:
            raise ValueError(
                "local_candidates needs an item table; set profile.table=float32 or int8, or "
                "profile.local_candidates=0"
            )
        if self.table == "none" and self.met_items < self.window:
            raise ValueError(
                f"met_items is {self.met_items}, but the encoder needs the vectors of all "
                f"{self.window} events of its window"
            )
        return self


PRESETS = {
    profile.name: profile
    for profile in (
        DeviceProfile(name="tiny", window=10, table="none"),
        DeviceProfile(name="small", window=50, table="float32", local_candidates=100),
        DeviceProfile(name="full", window=200, table="int8", local_candidates=100),
    )
}
DEFAULT = PRESETS["small"]


def preset(name: str) -> DeviceProfile:
    """The preset of this name; raises ValueError naming those there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(
            f"no device profile is called {name!r}; there are {', '.join(PRESETS)}, and a table "
            "[profile] in the settings file describes one of your own"
        ) from None
