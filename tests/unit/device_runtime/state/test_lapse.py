import math

import numpy as np
import pytest

from device_runtime.state import cues
from device_runtime.state.history import History, RequestContext
from device_runtime.state.lapse import Lapse, SessionCount, lapse_since

HOUR = 3600.0


def after(hours, *, retain="all", window=4):
    """A device's knowledge after events at these hours."""
    history, sessions = History(window, retain), SessionCount()
    for item, hour in enumerate(hours):
        time = None if hour is None else hour * HOUR
        history.append(item, time, 0.0 if hour is None else hour)
        sessions.observe(time)
    return history, sessions


def at(hour, session_events=None):
    return RequestContext(hour * HOUR, hour, session_events=session_events)


def test_the_snapshots_moment_is_that_of_the_event_that_followed_it():
    known = after([0.0, 1.0, 3.0, 4.0])
    lapse = lapse_since(2, *known, at(6.0), has_time=True)
    assert lapse.delta == 2
    assert lapse.elapsed == pytest.approx(math.log1p(3.0))
    assert lapse.turn == pytest.approx(float(cues.turn(6.0, 3.0)))


def test_a_fresh_snapshot_has_no_lapse():
    assert lapse_since(0, *after([0.0, 1.0]), at(50.0), has_time=True) == Lapse(0)
    assert lapse_since(0, *after([]), at(50.0), has_time=True) == Lapse(0)


def test_the_oldest_retained_event_stands_in_for_forgotten_ones():
    known = after(range(10), retain="window", window=4)
    lapse = lapse_since(7, *known, at(10.0), has_time=True)
    assert lapse.elapsed == pytest.approx(math.log1p(4.0))
    nothing = lapse_since(7, *after([]), at(10.0), has_time=True)
    assert (nothing.elapsed, nothing.turn, nothing.moved) == (0.0, 0.0, True)


def test_sessions_are_counted_beyond_what_is_retained():
    known = after(range(10), retain="window", window=4)
    assert not lapse_since(10, *known, at(10.0), has_time=True).moved
    assert lapse_since(1, *known, at(9.0 + cues.BREAK_HOURS + 0.01), has_time=True).moved


@pytest.mark.parametrize("seed", range(20))
def test_moved_agrees_with_the_sessions_of_the_whole_log(seed):
    rng = np.random.default_rng(seed)
    hours = np.cumsum(rng.exponential(cues.BREAK_HOURS / 2, 30))
    session = cues.sessions_by_breaks(hours * HOUR)
    for t in range(1, 30):
        known = after(hours[:t])
        for tau in range(t + 1):
            lapse = lapse_since(t - tau, *known, at(hours[t]), has_time=True)
            assert lapse.moved == (session[t] != session[tau])


def test_a_session_that_is_known_comes_before_breaks():
    known = after([0.0, 1.0, 2.0, 3.0])
    assert lapse_since(2, *known, at(3.1, session_events=1), has_time=True).moved
    assert not lapse_since(2, *known, at(90.0, session_events=2), has_time=True).moved
    assert lapse_since(2, *known, at(3.1, session_events=1), has_time=False).moved


def test_without_times_nothing_passes_and_nobody_moves():
    known = after([None] * 5)
    context = RequestContext(None, 0.0)
    assert lapse_since(5, *known, context, has_time=False) == Lapse(5)
    assert lapse_since(3, *after([0.0, 50.0, 100.0]), at(200.0), has_time=False) == Lapse(3)


@pytest.mark.parametrize(
    "context",
    [
        RequestContext(math.nan, math.nan),
        RequestContext(math.inf, math.inf),
        RequestContext(-1e9, math.nan),
        RequestContext(None, 3.0),
    ],
)
def test_a_strange_moment_gives_finite_cues(context):
    for hours in ([0.0, 1.0, 2.0], [None, 1.0, None], [math.nan] * 3):
        for delta in (1, 2, 3, 9):
            lapse = lapse_since(delta, *after(hours), context, has_time=True)
            assert math.isfinite(lapse.elapsed)
            assert lapse.elapsed >= 0.0
            assert 0.0 <= lapse.turn <= 1.0
