"""Per-user time split: train, then validation, then the last steps for testing.

Every user is cut at a time of their own, so models have learned from what others did after a
request they serve: ``trained_after`` says how much of it.

A *step* t of a user is the request made when t of their events are known; its target is the event
with index t. Leave-one-out is ``test_steps=1, validation_steps=1`` (SCaLRec section 5.1); rolling
evaluation scores each user's last ``test_steps`` steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """First step that is not training, and first that is testing, per user [U] int64.

    Events with index < ``validation_start`` are training; [validation_start, test_start) are
    validation targets; [test_start, n) test targets. A user with too few events has no test
    steps: all their events are training. Up to ``calibration_steps`` of the training events, the
    last ones, are kept from the backbone: [calibration_start, validation_start).
    """

    validation_start: NDArray[np.int64]
    test_start: NDArray[np.int64]
    n_events: NDArray[np.int64]
    calibration_steps: int = 0

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
        return _steps(self.test_start, self.n_events)

    def last_test(self, count: int) -> Steps:
        """Each user's last ``count`` test steps."""
        test = self.test()
        late = test.step >= self.n_events[test.user] - count
        return Steps(test.user[late], test.step[late])


def split_log(
    log: InteractionLog,
    *,
    test_steps: int = 1,
    validation_steps: int = 1,
    calibration_steps: int = 0,
) -> Split:
    """Cut every user's events; users with fewer than MIN_HISTORY + validation + 1 only train."""
    n = log.counts().astype(np.int64)
    room = n - validation_steps - MIN_HISTORY
    test = np.clip(np.minimum(test_steps, room), 0, None)
    test_start = n - test
    validation_start = np.where(test > 0, test_start - validation_steps, n)
    return Split(validation_start, test_start, n, calibration_steps)


def trained_after(log: InteractionLog, split: Split) -> float | None:
    """Share of training events that lie after the request they are used for.

    The mean over all test requests; None without times or without test requests.
    """
    test = split.test()
    if log.time is None or len(test) == 0:
        return None
    place = np.arange(len(log)) - log.user_start[log.user]
    learned = np.sort(log.time[place < split.validation_start[log.user]])
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
