"""QuadraticGain: the expected gain of a refresh as a quadratic function of what a device knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_runtime.refresh.policy import RefreshState
from device_runtime.state.cues import CUES
from shared.errors import BundleError
from shared.refresh_file import GainCoefficients

FEATURES = (*CUES, "r", "inconsistency")

Floats = NDArray[np.float64]


class QuadraticGain:
    """The bundle's gain model; read-only, shared by all devices of a process.

    Args:
        coefficients: from the bundle.
        path: of the bundle, for messages.

    Raises:
        BundleError: they are of other features than this device knows.
    """

    def __init__(self, coefficients: GainCoefficients, path: Path | None = None) -> None:
        if coefficients.features != FEATURES:
            raise BundleError(
                f"the gain model of bundle {path} reads {coefficients.features}, this device "
                f"knows {FEATURES}; run `scalrec export` again"
            )
        self._coefficients = coefficients
        self._weights = np.array(coefficients.weights)

    def expected_gain(self, state: RefreshState) -> float:
        """NDCG@10 expected of a fresh snapshot minus that of the held one; NaN without cues."""
        if state.cues is None:
            return float("nan")
        values = np.array([*state.cues, state.r, state.inconsistency], dtype=np.float64)
        return float(self.of(values))

    def of(self, values: Floats) -> Floats:
        """[..., F] raw features -> [...] expected gains."""
        gains: Floats = quadratic(standardised(values, self._coefficients)) @ self._weights
        return gains


def standardised(values: Floats, by: GainCoefficients) -> Floats:
    """[..., F] clipped and standardised; 0 where a value is unknown."""
    clipped = np.clip(values, by.low, by.high)
    return np.where(np.isfinite(values), (clipped - by.mean) * by.scale, 0.0)


def quadratic(x: Floats) -> Floats:
    """[..., F] -> [..., 1 + F + F (F + 1) / 2]: 1, every feature, every product of two."""
    first, second = np.triu_indices(x.shape[-1])
    return np.concatenate([np.ones_like(x[..., :1]), x, x[..., first] * x[..., second]], axis=-1)
