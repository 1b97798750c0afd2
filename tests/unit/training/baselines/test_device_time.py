"""A request on the device is timed by the graph that a device would run."""

from __future__ import annotations

import pytest

from training.baselines.device_time import encoder_us
from training.encoders.sasrec import SASRec, SASRecConfig


@pytest.mark.parametrize("has_time", [True, False])
def test_an_encoder_is_timed_with_or_without_times(has_time: bool) -> None:
    config = SASRecConfig(dim=8, layers=1, window=6, has_time=has_time, return_mechanism=has_time)
    assert encoder_us(SASRec(config)) > 0
