"""OwnCounts: the weight of a user's own history in the device's score."""

from __future__ import annotations

from pydantic import Field

from shared.strict import Strict


class OwnCounts(Strict):
    """The term a log(1 + c n_i) beside structure.

    n_i = sum over all own events j of item i that the device keeps of 2^(-age_j / half_life),
    age_j in events: 0 for the latest one.
    """

    weight: float = Field(gt=0, description="a")
    scale: float = Field(gt=0, description="c")
    half_life: float = Field(gt=0, description="in events")
