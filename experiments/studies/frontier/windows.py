"""The requests over which policies are compared: the last ones of a sample of users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.split import Split, Steps

SAMPLE = 0  # seed of the sample of users, the same for every seed of training


@dataclass(frozen=True, eq=False)
class LastSteps:
    """The last T steps of U users; request j of user u is step ``first[u] + j``.

    Attributes:
        user: [U] int64, ascending. first: [U] int64.
        length: T.
        time_s: [U, T] float64 moment of every request; the step itself in a log without times.
        order: [U * T] int64, flat places of all requests as they come in over the whole log; with
            equal times by user, then step.
    """

    user: NDArray[np.int64]
    first: NDArray[np.int64]
    length: int
    time_s: NDArray[np.float64]

    @property
    def order(self) -> NDArray[np.int64]:
        return np.argsort(self.time_s, axis=None, kind="stable").astype(np.int64)

    def steps(self) -> Steps:
        """All U * T steps, by user, then step."""
        step = self.first[:, None] + np.arange(self.length)
        user = np.repeat(self.user, self.length)
        return Steps(user.astype(np.int32), step.ravel().astype(np.int32))


def draw_windows(
    log: InteractionLog, split: Split, *, length: int, users: int, history: int
) -> LastSteps:
    """Windows of up to ``users`` random users that have at least ``history`` events before.

    Raises:
        DataError: the split holds out fewer steps than ``length``, or no user has enough events.
    """
    held_out = split.test_stop - split.first_test
    enough = (held_out >= length) & (split.test_stop >= length + history)
    if not enough.any():
        raise DataError(
            f"no user of {log.name} has {length} test steps after {history} events; make "
            "frontier.steps or frontier.history smaller, and training.test_steps at least "
            "frontier.steps"
        )
    chosen = np.random.default_rng(SAMPLE).permutation(np.flatnonzero(enough))[:users]
    user = np.sort(chosen).astype(np.int64)
    first = split.test_stop[user] - length
    row = (log.user_start[user] + first)[:, None] + np.arange(length)
    time = row - row[:, :1] if log.time is None else log.time[row]
    return LastSteps(user, first, length, time.astype(np.float64))
