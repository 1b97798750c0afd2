"""Pair features as training writes them are those that devices compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from device_runtime.state.features import age_hours
from tests.support.encoders import make_encoder, make_request
from training.encoders.choice import CONFIGS
from training.encoders.time_features import PairFeatures

SUBNORMAL = torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("has_time", [True, False])
def test_packed_features_are_the_features(has_time: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    age, query_age = torch.rand(2, 3, 40, generator=rng) * 500.0
    hour, query_hour = torch.rand(2, 3, 40, generator=rng) * 168.0
    features = PairFeatures(has_time)
    expected = features(age, hour, query_age, query_hour)
    found = features.packed(age, hour, query_age, query_hour)
    assert found.shape == expected.shape == (features.size, 3, 40)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-34)


def test_packed_features_are_never_subnormal() -> None:
    hour = torch.linspace(0.0, 168.0, 4001)[None]
    nothing = torch.zeros_like(hour)
    found = PairFeatures(has_time=True).packed(nothing, hour, nothing, nothing).abs()
    assert found[(found > 0) & (found < SUBNORMAL)].numel() == 0


@pytest.mark.parametrize("backbone", sorted(CONFIGS))
def test_a_clock_set_back_leaves_a_device_something_to_rank_by(backbone: str) -> None:
    """Of a device's features: an event hours before the one that it follows, one without a time."""
    now = 400.0 * 3600.0
    time = np.array([100.0, 300.0, 250.0, np.nan, 360.0, 399.0]) * 3600.0
    ages = torch.from_numpy(age_hours(time, now))[None]
    vectors, _, hour, at = make_request(1, len(time))
    with torch.no_grad():
        found = make_encoder(backbone)(vectors, ages, hour, at)
        torn = make_encoder(backbone)(
            vectors, torch.tensor([[300.0, 100.0, 150.0, 0.0, 40.0, 1.0]]), hour, at
        )
    assert all(part.isfinite().all() for part in found)
    assert not all(part.isfinite().all() for part in torn), "what the ages above prevent"
