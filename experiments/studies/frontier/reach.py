"""When each device can reach the cloud, if its connection comes and goes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_and_off(
    users: int, length: int, *, availability: float, mean_outage: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """[users, length] whether an attempt after each request succeeds.

    A two-state Markov chain per device (Gilbert's channel, 1960), begun in its stationary
    distribution; counted in the device's own requests, because users of a log are active at other
    times than each other.

    Args:
        availability: share of requests at which the cloud is up, in the long run.
        mean_outage: requests that an outage lasts on average.
    """
    back = 1.0 / mean_outage
    # Stationary: the share that goes down equals the share that comes back.
    gone = min(1.0, back * (1.0 - availability) / availability)
    up = np.empty((users, length), dtype=np.bool_)
    up[:, 0] = rng.random(users) < availability
    for now in range(1, length):
        lot = rng.random(users)
        up[:, now] = np.where(up[:, now - 1], lot >= gone, lot < back)
    return up
