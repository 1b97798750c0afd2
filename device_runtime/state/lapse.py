"""Lapse: what passed between a snapshot's moment and a request, from the device's own history.

A snapshot's moment is that of the request it answered, which is the moment of the event that
followed: event tau of the user, the delta-th last one when t = tau + delta events are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from device_runtime.state import cues
from device_runtime.state.features import SECONDS_PER_HOUR
from device_runtime.state.history import History, RequestContext

_TURN = math.pi / 12.0


@dataclass(frozen=True, slots=True)
class Lapse:
    """Cues of the time since a snapshot.

    Attributes:
        delta: t - tau, events.
        elapsed, turn: as ``device_runtime.state.cues`` defines them for whole columns, here for one
            request in plain arithmetic; 0 without times.
        moved: whether the user's session began after the snapshot's moment.
    """

    delta: int
    elapsed: float = 0.0
    turn: float = 0.0
    moved: bool = False


class SessionCount:
    """Events of the present session, where nobody says when sessions begin.

    A new one begins after a break of more than ``cues.BREAK_HOURS``; events without a time belong
    to the session that is under way.
    """

    def __init__(self) -> None:
        self._events = 0
        self._last = math.nan

    def observe(self, time: float | None) -> None:
        """Count the user's newest event, at Unix seconds ``time``."""
        self._events = self.at(time) + 1
        if time is not None and math.isfinite(time):
            self._last = time

    def at(self, time: float | None) -> int:
        """Events of the session that a request at Unix seconds ``time`` belongs to."""
        broken = time is not None and time - self._last > cues.BREAK_HOURS * SECONDS_PER_HOUR
        return 0 if broken else self._events


def lapse_since(
    delta: int, history: History, sessions: SessionCount, context: RequestContext, *, has_time: bool
) -> Lapse:
    """The lapse of ``delta`` events before the request of ``context``.

    Where the history no longer holds the event at tau, the oldest one it holds stands in.

    Args:
        delta: t - tau, >= 0.
        sessions: counts what ``history`` holds; the context's own count comes first.
        has_time: whether the bundle's log has times. Without them elapsed and turn are 0, and a
            user's events are one session unless the context counts them.
    """
    if context.session_events is not None:
        moved = delta > context.session_events
    else:
        moved = has_time and delta > sessions.at(context.time)
    if delta == 0 or not has_time or context.time is None or len(history) == 0:
        return Lapse(delta, moved=moved)
    events, back = history.events, min(delta, len(history))
    hours = (context.time - float(events.time[-back])) / SECONDS_PER_HOUR
    now, then = context.hour_of_week, float(events.hour[-back])
    return Lapse(
        delta,
        math.log1p(max(hours, 0.0)) if math.isfinite(hours) else 0.0,
        (1.0 - math.cos((now - then) * _TURN)) / 2.0 if math.isfinite(now) else 0.0,
        moved,
    )
