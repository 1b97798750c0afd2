"""A burst in the traffic: the same requests in the same order, closer together for a while."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loadtest.timing.schedule import Schedule


def with_crowd(
    schedule: Schedule, *, at_s: float, for_s: float, ramp_s: float, factor: float
) -> Schedule:
    """``schedule`` with times warped so that the request rate is ``factor`` times as high.

    The rate is 1 (in units of its base) until ``at_s``, climbs linearly to ``factor`` within
    ``ramp_s`` seconds, stays for ``for_s`` and falls again within ``ramp_s``. Request times are
    the inverse of the rate's integral, so the window's length and all orders stay.
    """
    window = schedule.window_s
    knots = np.array([0.0, at_s, at_s + ramp_s, at_s + ramp_s + for_s, at_s + 2 * ramp_s + for_s])
    t = np.unique(np.append(np.linspace(0.0, window, 4097), knots[knots <= window]))
    rate = np.interp(t, knots[1:], [1.0, factor, factor, 1.0])
    grown: NDArray[np.float64] = np.append(
        0.0, np.cumsum((rate[1:] + rate[:-1]) / 2.0 * np.diff(t))
    )
    times = np.interp(schedule.scheduled_s / window * grown[-1], grown, t)
    return replace(schedule, scheduled_s=times)
