"""Pair features as training writes them are those that devices compute."""

from __future__ import annotations

import pytest
import torch

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
