"""Splits of a log by time: what training may read, then each user's steps for testing.

Two ways to cut. *By user*: every user is cut at a time of their own, so models have learned from
what others did after a request they serve: ``trained_after`` says how much of it. *At one instant*:
nobody's event at or after it is training.

A *step* t of a user is the request made when t of their events are known; its target is the event
with index t. Leave-one-out is ``test_steps=1, validation_steps=1`` (SCaLRec section 5.1); rolling
evaluation scores up to ``test_steps`` steps of each user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.interactions import InteractionLog

MIN_HISTORY = 2


@dataclass(frozen=True, eq=False)
class Steps:
    """Requests to score: user index [m] int32 and step t [m] int32, sorted by user, then step."""

    user: NDArray[np.int32]
    step: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class Split:
    """Where each user's events are cut, as event indices per user [U] int64.

    Training reads events with index < ``test_start`` and nothing else: those before
    ``validation_start`` are training, [validation_start, test_start) validation targets. Test
    targets are [first_test, test_stop). A user without validation steps only trains, and a user
    without test steps is not tested. Up to ``calibration_steps`` of the training events, the last
    ones, are kept from the backbone: [calibration_start, validation_start).
    """

    validation_start: NDArray[np.int64]
    test_start: NDArray[np.int64]
    test_stop: NDArray[np.int64]
    calibration_steps: int = 0

    @property
    def first_test(self) -> NDArray[np.int64]:
        """[U] first test step: MIN_HISTORY events are known there at least."""
        return np.minimum(np.maximum(self.test_start, MIN_HISTORY), self.test_stop)

    def tested(self) -> NDArray[np.int64]:
        """Users with test steps, ascending."""
        return np.flatnonzero(self.test_stop > self.first_test)

    @property
    def calibration_start(self) -> NDArray[np.int64]:
        """[U] first event the backbone is not trained to predict.

        At least half of a user's training events and MIN_HISTORY of them stay with the backbone.
        """
        stay = np.maximum((self.validation_start + 1) // 2, MIN_HISTORY)
        start = np.maximum(self.validation_start - self.calibration_steps, stay)
        return np.minimum(start, self.validation_start)

    def calibration(self) -> Steps:
        """The calibration block; empty unless ``calibration_steps`` asks for one."""
        return _steps(self.calibration_start, self.validation_start)

    def validation(self) -> Steps:
        return _steps(self.validation_start, self.test_start)

    def test(self) -> Steps:
        return _steps(self.first_test, self.test_stop)

    def last_test(self, count: int) -> Steps:
        """Each user's last ``count`` test steps."""
        test = self.test()
        late = test.step >= self.test_stop[test.user] - count
        return Steps(test.user[late], test.step[late])


def split_log(
    log: InteractionLog,
    *,
    test_steps: int = 1,
    validation_steps: int = 1,
    calibration_steps: int = 0,
) -> Split:
    """Cut off every user's last events; who has fewer than MIN_HISTORY + validation + 1 trains."""
    n = log.counts().astype(np.int64)
    room = n - validation_steps - MIN_HISTORY
    test = np.clip(np.minimum(test_steps, room), 0, None)
    test_start = n - test
    validation_start = np.where(test > 0, test_start - validation_steps, n)
    return Split(validation_start, test_start, n, calibration_steps)


def split_log_at(
    log: InteractionLog,
    instant: float,
    *,
    test_steps: int = 1,
    validation_steps: int = 1,
    calibration_steps: int = 0,
) -> Split:
    """Cut everybody at one instant: no event at or after it is trained or validated on.

    A user's test steps are their *first* ``test_steps`` events from the instant on that have
    MIN_HISTORY events before them, whenever those were. The first ones, not the last: the model
    that serves them is then as old as the time since the cut, not as old as the user is active, and
    each event that is scored is one that a model trained at the instant would have met soonest.
    Validation steps are the last ones before the instant. A user with fewer than MIN_HISTORY +
    ``validation_steps`` events before it only trains, with all of them, and is tested all the same:
    that newcomers are asked for as well is the point of this split. Whether a user is active after
    the instant changes nothing before it.

    Args:
        instant: Unix seconds.

    Raises:
        DataError: the log has no times.
    """
    if log.time is None:
        raise DataError(f"log {log.name!r} has no times to cut it by")
    n = log.counts().astype(np.int64)
    before = np.bincount(log.user[log.time < instant], minlength=log.n_users).astype(np.int64)
    validation_start = np.where(
        before >= MIN_HISTORY + validation_steps, before - validation_steps, before
    )
    test_stop = np.minimum(n, np.maximum(before, MIN_HISTORY) + test_steps)
    return Split(validation_start, before, test_stop, calibration_steps)


def trained_after(log: InteractionLog, split: Split) -> float | None:
    """Share of training events that lie after the request they are used for.

    The mean over all test requests; None without times, test requests or training events.
    """
    test = split.test()
    if log.time is None or len(test) == 0:
        return None
    place = np.arange(len(log)) - log.user_start[log.user]
    learned = np.sort(log.time[place < split.validation_start[log.user]])
    if len(learned) == 0:
        return None
    asked = log.time[log.user_start[test.user] + test.step]
    return float(np.mean(1.0 - np.searchsorted(learned, asked, side="right") / len(learned)))


def stale_tau(step: NDArray[np.integer], gap: int) -> NDArray[np.int64]:
    """tau = t - gap, but never before MIN_HISTORY events are known (nor after t)."""
    t = step.astype(np.int64)
    return np.minimum(np.maximum(t - gap, MIN_HISTORY), t)


def _steps(first: NDArray[np.int64], stop: NDArray[np.int64]) -> Steps:
    counts = stop - first
    user = np.repeat(np.arange(len(counts)), counts)
    offsets = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Steps(user.astype(np.int32), (first[user] + offsets).astype(np.int32))
