"""A log cut short: what was known of it at some event of every user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.interactions import InteractionLog


def events_before(log: InteractionLog, stop: NDArray[np.int64]) -> InteractionLog:
    """The log with the first ``stop`` [U] events of every user alone."""
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    kept = place < np.repeat(stop, log.counts())
    queries = log.query
    return replace(
        log,
        user=log.user[kept],
        item=log.item[kept],
        time=None if log.time is None else log.time[kept],
        utc_offset_min=None if log.utc_offset_min is None else log.utc_offset_min[kept],
        query=None if queries is None else tuple(queries[i] for i in np.flatnonzero(kept)),
        session=None if log.session is None else log.session[kept],
    )
