"""CallRates: what a refresh policy's score means, measured on training data."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from shared.strict import Strict


class CallRates(Strict):
    """Share of requests that ask if those ask whose score reaches a threshold (LSC4Rec eq. 12).

    Attributes:
        thresholds: ascending scores. rates: [same length] descending shares in [0, 1].
    """

    thresholds: tuple[float, ...] = Field(min_length=2, max_length=1000)
    rates: tuple[float, ...]

    @model_validator(mode="after")
    def _in_order(self) -> CallRates:
        if len(self.thresholds) != len(self.rates):
            raise ValueError("every threshold needs its rate")
        if not np.isfinite(self.thresholds).all() or np.any(np.diff(self.thresholds) <= 0):
            raise ValueError("thresholds must be finite and rise")
        if not all(0.0 <= rate <= 1.0 for rate in self.rates) or np.any(np.diff(self.rates) > 0):
            raise ValueError("rates must be within [0, 1] and must not rise")
        return self

    def rate(self, score: float) -> float:
        """Share that asks at the threshold ``score``; between two known ones by a straight line."""
        return float(np.interp(score, self.thresholds, self.rates))
