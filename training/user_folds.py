"""Folds of users: models that never met a user, for what is learned from that user's steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.split import Split, Steps
from training.semantic.anchors import Anchors
from training.steps import TrainingSteps

FOLDS = 2


@dataclass(frozen=True, eq=False)
class UserFold:
    """Users that some models are kept from, and what those models are trained on.

    Attributes:
        steps: of the other users; of these nothing at all, neither event nor validation step.
        asked: training steps of these users that have an abstract.
    """

    steps: TrainingSteps
    asked: Anchors


def user_folds(steps: TrainingSteps) -> tuple[UserFold, ...]:
    """Every user is in one fold; which one no event decides, nor the seed of a run.

    Raises:
        DataError: there are fewer users with training steps than folds.
    """
    users = len(steps.split.validation_start)
    fold = np.random.default_rng(0).permutation(users) % FOLDS
    found = tuple(_fold(steps, fold == number) for number in range(FOLDS))
    if any(len(one.asked) == 0 for one in found):
        raise DataError(
            f"training.calibration_block=users needs users with training steps in each of {FOLDS} "
            "folds: set training.calibration_block=steps"
        )
    return found


def _fold(steps: TrainingSteps, asked: NDArray[np.bool_]) -> UserFold:
    split, kept = steps.split, ~asked
    # A user without events is one that training never met, as under a global split.
    others = Split(
        np.where(kept, split.validation_start, 0),
        np.where(kept, split.test_start, 0),
        np.where(kept, split.test_stop, 0),
        split.calibration_steps,
    )
    of_event = np.repeat(kept, np.diff(steps.events.user_start))
    return UserFold(
        steps=replace(
            steps,
            split=others,
            events=steps.events.keep_first(others.test_start),
            sessions=None if steps.sessions is None else steps.sessions[of_event],
            trained_on=_anchors(steps.trained_on, kept),
            calibration=_steps(steps.calibration, kept),
            validation=_steps(steps.validation, kept),
            anchors=_anchors(steps.anchors, kept),
        ),
        asked=_anchors(steps.trained_on, asked),
    )


def _anchors(anchors: Anchors, users: NDArray[np.bool_]) -> Anchors:
    mine = users[anchors.user]
    return Anchors(anchors.user[mine], anchors.tau[mine])


def _steps(steps: Steps, users: NDArray[np.bool_]) -> Steps:
    mine = users[steps.user]
    return Steps(steps.user[mine], steps.step[mine])
