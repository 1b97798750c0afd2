"""The requests of the study: whose next item is asked for, what the cloud knew, what it wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.split import MIN_HISTORY, Split, Steps, stale_tau
from training.backbone.batches import Events
from training.settings import Lsc4recSettings

Rows = NDArray[np.int64]

# Of the cloud's model that writes lists, whatever the seed: the SRMs of all seeds share it.
LLM_SEED = 0


@dataclass(frozen=True, eq=False)
class Asked:
    """R requests, each for the item of one event.

    Attributes:
        events: the whole log.
        user: [R]. step: [R] events the user has had; the target is the next one.
    """

    events: Events
    user: Rows
    step: Rows

    def __len__(self) -> int:
        return len(self.user)

    @property
    def row(self) -> Rows:
        """[R] event that is asked for."""
        row: Rows = self.events.user_start[self.user] + self.step
        return row

    @property
    def target(self) -> Rows:
        """[R] its item."""
        target: Rows = self.events.item[self.row].astype(np.int64)
        return target

    def known_at(self, gap: int) -> list[NDArray[np.integer]]:
        """Each user's items as of ``gap`` events before the request, oldest first."""
        start = self.events.user_start[self.user]
        stop = start + stale_tau(self.step, gap)
        return [self.events.item[a:b] for a, b in zip(start, stop, strict=True)]

    def allowed(self, items: NDArray[np.integer], *, exclude_seen: bool) -> NDArray[np.bool_]:
        """[R, n] which of ``items`` [R, n] may be recommended at the request."""
        allowed = np.ones(items.shape, dtype=np.bool_)
        if exclude_seen:
            for place, history in enumerate(self.known_at(0)):
                allowed[place] = ~np.isin(items[place], history)
        return allowed


@dataclass(frozen=True, eq=False)
class Lists:
    """What the cloud wrote for R requests: items [R, n], best first, and their scores [R, n]."""

    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    def first(self, n: int) -> Lists:
        return Lists(self.items[:, :n], self.scores[:, :n])


def requests_of_test(events: Events, split: Split, steps: int) -> Asked:
    """Each user's last ``steps`` test steps."""
    return _of(events, split.last_test(steps))


def requests_of_validation(events: Events, split: Split, settings: Lsc4recSettings) -> Asked:
    """The last validation step of a sample of users, drawn once for all seeds."""
    step = np.where(split.test_start > split.validation_start, split.test_start - 1, 0)
    return _sample(events, step, settings.validation_users)


def requests_of_calibration(events: Events, split: Split, settings: Lsc4recSettings) -> Asked:
    """The last calibration step of a sample of users: no model has been trained on its target.

    What a model says of its own training targets is better than what it says of any other, so
    lists for them would teach cooperative training an ease that no later request has.
    """
    held = split.calibration_start < split.validation_start
    step = np.where(held, split.validation_start - 1, 0)
    return _sample(events, step, settings.training_users)


def requests_trained_on(events: Events, split: Split, settings: Lsc4recSettings) -> Asked:
    """The last step of a sample of users whose target the generator and the SRM were trained on.

    The paper's thresholds come from such requests; nothing else is to.
    """
    return _sample(events, split.calibration_start - 1, settings.validation_users)


def _of(events: Events, steps: Steps) -> Asked:
    return Asked(events, steps.user.astype(np.int64), steps.step.astype(np.int64))


def _sample(events: Events, step: Rows, count: int) -> Asked:
    able = np.flatnonzero(step >= MIN_HISTORY)
    if len(able) > count:
        able = np.sort(np.random.default_rng(0).choice(able, count, replace=False))
    return Asked(events, able, step[able].astype(np.int64))
