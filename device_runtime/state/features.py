"""Time features of a request, computed the same way on the device and in training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.state.history import HOURS_PER_WEEK, RequestContext, Window

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class TimeFeatures:
    """Inputs of the encoder beside the item vectors.

    Attributes:
        age_hours: [L] float32, request time minus event time in hours, >= 0 and never rising from
            one event to the next; zeros without times.
        event_hour: [L] float32, local hour of week of each event, in [0, 168).
        request_hour: local hour of week of the request, in [0, 168).
    """

    age_hours: NDArray[np.float32]
    event_hour: NDArray[np.float32]
    request_hour: float


def time_features(window: Window, context: RequestContext, *, has_time: bool) -> TimeFeatures:
    """Features of the events in ``window`` at the moment of ``context``.

    Args:
        window: L events, oldest first.
        context: the request; its time may be None.
        has_time: whether the bundle's log has times; all features are 0 if not.
    """
    if not has_time:
        zeros = np.zeros(len(window), dtype=np.float32)
        return TimeFeatures(zeros, zeros, 0.0)
    hour = context.hour_of_week
    hour = hour % HOURS_PER_WEEK if math.isfinite(hour) else 0.0
    return TimeFeatures(age_hours(window.time, context.time), window.hour, hour)


def age_hours(event_time: NDArray[np.float64], request_time: float | None) -> NDArray[np.float32]:
    """[L] hours from each event to the request.

    Args:
        event_time: [L] Unix seconds, NaN where unknown.
        request_time: Unix seconds, or None (all ages are then 0).

    No event is younger than a later one: encoders read the hours between two of them. So where a
    clock was set back, or an event's time is unknown, it is as old as the oldest that follows it;
    0 if none is older than the request.
    """
    if request_time is None:
        return np.zeros(len(event_time), dtype=np.float32)
    age = (request_time - event_time) * (1.0 / SECONDS_PER_HOUR)
    # fmax, unlike maximum, returns the number when the other side is NaN.
    known = np.fmax(age, 0.0)
    return np.maximum.accumulate(known[::-1])[::-1].astype(np.float32)
