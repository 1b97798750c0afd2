"""In which order the requests of all devices come in."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.studies.frontier.windows import LastSteps

_JITTER = 0  # seed; the same for every seed of training


def interleaved(windows: LastSteps, align: Literal["none", "users"]) -> NDArray[np.int64]:
    """[U * T] flat places of all requests, each user's own in their order.

    Args:
        align: none: by the log's clock; users: every user's j-th request falls into the j-th part
            of the time, as in a replay (see ``replay.align``).
    """
    if align == "none":
        return windows.order
    rng = np.random.default_rng(_JITTER)
    when = np.arange(windows.length) + rng.random(windows.time_s.shape)
    return np.argsort(when, axis=None, kind="stable").astype(np.int64)
