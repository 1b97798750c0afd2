"""TrainingSteps: which events and steps of a log training may read, and what for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.interactions import InteractionLog
from shared.split import Split, Steps
from training.backbone.batches import Events, events_of, sessions_of
from training.cut_log import events_before
from training.semantic.anchors import Anchors, merge, stale_anchors, training_anchors

VALIDATION_GAPS = (0, 1, 2, 5, 10, 20)


@dataclass(frozen=True, eq=False)
class TrainingSteps:
    """What training reads of a log; nothing of a test event is in it.

    Attributes:
        events: those before each user's ``test_start``.
        sessions: the log's own session of every one of ``events``; None without any.
        trained_on: training steps that have an abstract.
        calibration, validation: steps kept from the backbone's training.
        anchors: every point that an abstract is written at.
        items: [K] items of the catalogue, ascending, that training knows; ``events`` name them by
            their places here. None: all of them, named by their own index.
    """

    split: Split
    events: Events
    sessions: NDArray[np.int64] | None
    trained_on: Anchors
    calibration: Steps
    validation: Steps
    anchors: Anchors
    items: NDArray[np.int64] | None = None

    def rows(self, anchors: Anchors) -> NDArray[np.int64]:
        """Their places among ``anchors`` of all, -1 where there is none."""
        return self.anchors.find(anchors.user, anchors.tau)

    def validation_rows(self) -> NDArray[np.int64]:
        return self.anchors.find(self.validation.user, self.validation.step)

    def block(self) -> NDArray[np.int64] | None:
        """Rows of the calibration block, whose targets the backbone has not met; None without."""
        if len(self.calibration) == 0:
            return None
        return self.anchors.find(self.calibration.user, self.calibration.step)


def training_steps(
    log: InteractionLog,
    split: Split,
    *,
    per_user: int,
    items: NDArray[np.int64] | None = None,
) -> TrainingSteps:
    """The steps of a split.

    Args:
        per_user: training steps of each user that get an abstract.
        items: see ``TrainingSteps``; every event before the test has one of them.
    """
    trained_on = training_anchors(split, per_user)
    calibration, validation = split.calibration(), split.validation()
    events = events_of(log).keep_first(split.test_start)
    if items is not None:
        place = np.searchsorted(items, events.item).astype(events.item.dtype)
        events = replace(events, item=place)
    return TrainingSteps(
        split=split,
        events=events,
        sessions=sessions_of(log, split.test_start),
        trained_on=trained_on,
        calibration=calibration,
        validation=validation,
        anchors=merge(
            trained_on,
            stale_anchors(calibration, VALIDATION_GAPS),
            stale_anchors(validation, VALIDATION_GAPS),
        ),
        items=items,
    )


def told_to_writers(log: InteractionLog, split: Split) -> InteractionLog:
    """The log as abstracts of training may read it: without test events and items' full texts."""
    catalogue = replace(log.catalogue, texts=("",) * len(log.catalogue))
    known = events_before(log, split.test_start)
    return replace(known, name="", catalogue=catalogue, terms="", notes=())
