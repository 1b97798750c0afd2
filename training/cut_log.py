"""A log cut short: what was known of it at some event of every user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.interactions import InteractionLog


def events_before(log: InteractionLog, stop: NDArray[np.int64]) -> InteractionLog:
    """The log with the first ``stop`` [U] events of every user alone."""
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    return log.take(np.flatnonzero(place < np.repeat(stop, log.counts())))
