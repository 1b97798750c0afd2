"""LSC4Rec: which device model re-ranks the cloud's lists, and how the two are brought together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from shared.section import Section


class Lsc4recSettings(Section):
    """Collaboration of a generative cloud model and a device's SRM (arXiv 2501.05647)."""

    srm: Literal["backbone", "din"] = Field(
        default="backbone",
        description="the device's model; backbone: the encoder of training.backbone; din: a deep "
        "interest network",
    )
    lists: tuple[int, ...] = Field(
        default=(20, 50), description="lengths of candidate lists; a shorter one begins the longest"
    )
    training_users: int = Field(
        default=20_000, ge=1, description="users whose last training request has a list"
    )
    validation_users: int = Field(
        default=4_096, ge=1, description="users on whose validation request everything is chosen"
    )
    second_srm: bool = Field(
        default=False,
        description="in studies: also put an SRM of the next seed in the place of the cloud's "
        "scores, which bounds what a better cloud could add; trains one more",
    )
    cooperative_epochs: int = Field(default=4, ge=1)
    adaptive_rates: tuple[float, ...] = Field(
        default=(0.03, 0.1, 0.3, 1.0),
        description="step sizes of the device's own re-training that validation chooses from, in "
        "units of 1 / mean |e_str|^2",
    )
    din_epochs: int = Field(default=6, ge=1)

    @property
    def longest(self) -> int:
        """Length of the lists the cloud makes."""
        return max(self.lists)

    @field_validator("lists", "adaptive_rates")
    @classmethod
    def _some(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or min(values) <= 0 or len(set(values)) != len(values):
            raise ValueError("give distinct values above 0, one at least")
        return tuple(sorted(values))
