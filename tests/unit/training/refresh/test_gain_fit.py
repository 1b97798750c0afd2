import math

import numpy as np
import pytest

from device_runtime.refresh.policy import RefreshState
from device_runtime.refresh.quadratic_gain import FEATURES, QuadraticGain
from device_runtime.state.cues import CUES
from shared.errors import BundleError, DataError
from shared.refresh_file import GainCoefficients
from training.refresh.gain_fit import PENALTIES, FittedGain, fit_gain


def data(seed: int, n: int = 4000, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, noisy gains, and what is to be found in them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, len(FEATURES)))
    truth = 0.2 + 0.5 * x[:, 1] - 0.3 * x[:, 0] * x[:, 8]
    return x, truth + noise * rng.standard_normal(n), truth


def fit(noise: float = 1.0) -> FittedGain:
    x, gains, _ = data(0, noise=noise)
    held, wanted, _ = data(1, noise=noise)
    return fit_gain(x, gains, (held, wanted))


def test_it_finds_a_quadratic_gain_behind_noise() -> None:
    fitted = fit()
    x, _, truth = data(2)
    assert np.corrcoef(QuadraticGain(fitted.coefficients).of(x), truth)[0, 1] > 0.95
    assert fitted.error < 0.9 * fitted.plain_error
    assert fitted.top_tenth > fitted.mean + 0.5


def test_the_more_noise_the_more_it_is_held_back() -> None:
    assert fit(noise=0.1).penalty < fit(noise=30.0).penalty
    assert fit(noise=30.0).penalty in PENALTIES


def test_without_validation_it_trusts_itself_least() -> None:
    x, gains, _ = data(0)
    fitted = fit_gain(x, gains, (x[:0], gains[:0]))
    assert fitted.penalty == max(PENALTIES)
    assert math.isnan(fitted.error)
    predicted = QuadraticGain(fitted.coefficients).of(x)
    assert predicted.mean() == pytest.approx(gains.mean(), abs=1e-9)
    assert predicted.std() < 0.1


def test_unknown_and_far_values_say_no_more_than_training_did() -> None:
    x, gains, _ = data(0)
    x[::3, 9] = np.nan
    x[:, 3] = 7.0
    model = QuadraticGain(fit_gain(x, gains, (x, gains)).coefficients)
    far, edge = x[:1].copy(), x[:1].copy()
    far[0, 1], edge[0, 1] = 1e9, np.quantile(x[:, 1], 0.99)
    assert model.of(far) == pytest.approx(model.of(edge))
    assert np.isfinite(model.of(x)).all()


def test_a_device_asks_it_with_its_own_state() -> None:
    x, *_ = data(3, n=1)
    model = QuadraticGain(fit().coefficients)
    cues = x[0, : len(CUES)].astype(np.float32)
    known = RefreshState(
        requests_since_attempt=1,
        has_snapshot=True,
        in_flight=False,
        delta=3,
        omega=0.0,
        drift=0.0,
        r=x[0, 8],
        inconsistency=x[0, 9],
        cues=cues,
    )
    assert model.expected_gain(known) == pytest.approx(float(model.of(x)[0]), rel=1e-5)
    unknown = RefreshState(
        requests_since_attempt=1,
        has_snapshot=True,
        in_flight=False,
        delta=3,
        omega=0.0,
        drift=0.0,
        r=0.5,
    )
    assert math.isnan(model.expected_gain(unknown))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="no gains"):
        fit_gain(np.zeros((0, 10)), np.zeros(0), (np.zeros((0, 10)), np.zeros(0)))
    other = GainCoefficients(
        features=("age",), low=(0,), high=(1,), mean=(0,), scale=(1,), weights=(0, 0, 0)
    )
    with pytest.raises(BundleError, match="scalrec export"):
        QuadraticGain(other)
    with pytest.raises(ValueError, match="weights do not fit"):
        GainCoefficients.model_validate(other.model_dump() | {"weights": (0.0,)})
