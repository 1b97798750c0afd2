import numpy as np
import pytest

from device_runtime.refresh.budgeted import Accumulated, RefreshIndex, drift_score
from device_runtime.refresh.policy import RefreshState
from training.refresh.sequences import accumulated, indexed


@pytest.mark.parametrize(("ours", "theirs"), [(accumulated, Accumulated), (indexed, RefreshIndex)])
def test_walks_build_up_as_devices_do(ours, theirs) -> None:
    steps = 9
    scores = np.random.default_rng(0).standard_normal((3, steps, steps))
    scores[:, np.triu(np.ones((steps, steps), dtype=bool))] = np.nan  # no snapshot of later steps
    scores[2, 6:] = np.nan  # a shorter walk
    found = ours(scores)
    for user, tau in np.ndindex(3, steps):
        device = theirs(drift_score)
        for t in range(tau + 1, steps):
            state = RefreshState(
                requests_since_attempt=t - tau,
                has_snapshot=True,
                in_flight=False,
                delta=t - tau,
                omega=0.0,
                drift=scores[user, t, tau],
                r=0.5,
            )
            if np.isnan(scores[user, t, tau]):
                assert np.isnan(found[user, t, tau])
            else:
                assert found[user, t, tau] == pytest.approx(device(state))
