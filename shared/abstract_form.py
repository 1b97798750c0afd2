"""AbstractForm: what a device's abstract tells the cloud, and how much of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.strict import Strict

ASKS = "Asks: "  # begins what an abstract says of the query, which is the last that it says
PrivacyLevel = Literal["items", "coarse", "categories"]


class AbstractForm(Strict):
    """A field of every bundle manifest.

    The cloud's projector only understands the form it was fitted on, so the form is fixed when a
    bundle is trained, and devices take it from the bundle.
    """

    level: PrivacyLevel = Field(
        default="items",
        description="what leaves the device, see ``abstract.level`` of the settings",
    )
    context: bool = Field(
        default=True, description="tell weekday and part of the day, and the habits of that time"
    )
    max_tokens: int = Field(
        default=100, ge=20, le=400, description="rough length of all but the query"
    )
    recent: int = Field(default=6, ge=0, description="latest events told, at most")
    favourites: int = Field(default=6, ge=0, description="items told as returned to, at most")
    habits: int = Field(default=3, ge=0, description="items told of a time of the week, at most")
    query_chars: int = Field(default=300, ge=0, description="longest query passed on")
