"""Refresh file of a bundle: what training knows about when to refresh. It may be missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, model_validator

from shared.bundle import REFRESH_FILE, Bundle
from shared.errors import BundleError
from shared.strict import Strict


class GainCoefficients(Strict):
    """A quadratic function of F features: the NDCG@10 that a refresh is expected to gain.

    A feature is clipped to what training saw of it, standardised, and the mean stands for one
    that is unknown.

    Attributes:
        features: their names, in order.
        low, high, mean, scale: [F] of each.
        weights: [1 + F + F (F + 1) / 2] of 1, every feature, and every product of two (row by row
            of the upper triangle).
    """

    model_config = ConfigDict(allow_inf_nan=False)
    features: tuple[str, ...] = Field(min_length=1, max_length=64)
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> GainCoefficients:
        count = len(self.features)
        if any(len(v) != count for v in (self.low, self.high, self.mean, self.scale)):
            raise ValueError(f"low, high, mean and scale must be of {count} features")
        if len(self.weights) != 1 + count + count * (count + 1) // 2:
            raise ValueError(f"{len(self.weights)} weights do not fit {count} features")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("low must not be above high")
        return self


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


class RefreshKnowledge(Strict):
    """Content of the file.

    Attributes:
        gain: for the policy expected-gain.
        call_rates: policy -> what its score meant on training data.
    """

    gain: GainCoefficients | None = None
    call_rates: Mapping[str, CallRates] = {}


def encode_refresh(known: RefreshKnowledge) -> bytes:
    """Bytes of REFRESH_FILE."""
    return (known.model_dump_json(indent=1) + "\n").encode()


def read_refresh(bundle: Bundle) -> RefreshKnowledge:
    """What the bundle holds; nothing, if it has no such file.

    Raises:
        BundleError: the file is there but is none; it is named.
    """
    if REFRESH_FILE not in bundle.manifest.files:
        return RefreshKnowledge()
    path = bundle.file(REFRESH_FILE)
    try:
        return RefreshKnowledge.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{path} is not what training knows of refreshes: {error}") from error
