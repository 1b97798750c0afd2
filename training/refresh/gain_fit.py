"""Fit the expected gain of a refresh: ridge regression on a quadratic function of the cues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.refresh.quadratic_gain import FEATURES, QuadraticGain, quadratic, standardised
from shared.errors import DataError
from shared.refresh_file import GainCoefficients

Floats = NDArray[np.float64]
# Pseudo-observations at zero per coefficient; the gains of single requests are mostly noise.
PENALTIES = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
TAIL = 0.01  # share at either end of a feature that is clipped


@dataclass(frozen=True)
class FittedGain:
    """The model, and what it was chosen by.

    Attributes:
        penalty: of PENALTIES, the one with the least squared error on validation.
        error, plain_error: mean squared error there, and that of the mean gain of training.
        top_tenth, mean: validation gain of the tenth of requests with the highest expected gain,
            and of all.
    """

    coefficients: GainCoefficients
    penalty: float
    error: float
    plain_error: float
    top_tenth: float
    mean: float


def fit_gain(features: Floats, gains: Floats, held_out: tuple[Floats, Floats]) -> FittedGain:
    """Ridge regression; the penalty is chosen on validation requests, never fitted to.

    Args:
        features: [P, F] raw, in the order of FEATURES; NaN where unknown. gains: [P].
        held_out: the same of validation requests; if there are none, the strongest penalty holds.

    Raises:
        DataError: there is nothing to fit.
    """
    if len(gains) == 0 or features.shape != (len(gains), len(FEATURES)):
        raise DataError(f"no gains to fit: features {features.shape}, {len(gains)} gains")
    plain = _normaliser(features)
    x = quadratic(standardised(features, plain))
    mean = float(gains.mean())
    centre = x.mean(0)
    centred = x - centre
    gram, moment = centred.T @ centred, centred.T @ (gains - mean)
    found = []
    for penalty in PENALTIES:
        slope = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
        # Column 0 is constant: its own slope is 0, and it takes up the means.
        slope[0] = mean - float(centre @ slope)
        found.append(plain.model_copy(update={"weights": tuple(slope.tolist())}))
    held, wanted = held_out
    if len(wanted) == 0:
        return FittedGain(
            coefficients=found[-1],
            penalty=PENALTIES[-1],
            error=np.nan,
            plain_error=np.nan,
            top_tenth=np.nan,
            mean=np.nan,
        )
    predicted = [QuadraticGain(model).of(held) for model in found]
    errors = [float(np.square(p - wanted).mean()) for p in predicted]
    best = int(np.argmin(errors))
    top = np.argsort(-predicted[best], kind="stable")[: max(1, len(wanted) // 10)]
    return FittedGain(
        coefficients=found[best],
        penalty=PENALTIES[best],
        error=errors[best],
        plain_error=float(np.square(mean - wanted).mean()),
        top_tenth=float(wanted[top].mean()),
        mean=float(wanted.mean()),
    )


def _normaliser(features: Floats) -> GainCoefficients:
    known = np.isfinite(features)
    counts = known.sum(0)
    low, high, mean, scale = (np.zeros(len(FEATURES)) for _ in range(4))
    for place in np.flatnonzero(counts):
        column = features[known[:, place], place]
        low[place], high[place] = np.quantile(column, [TAIL, 1.0 - TAIL])
        clipped = np.clip(column, low[place], high[place])
        mean[place], spread = clipped.mean(), clipped.std()
        scale[place] = 1.0 / spread if spread > 1e-6 else 0.0
    count = len(FEATURES)
    return GainCoefficients(
        features=FEATURES,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=(0.0,) * (1 + count + count * (count + 1) // 2),
    )
