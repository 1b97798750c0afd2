"""TuningPairs: abstracts and the items that followed them, drawn from one part of a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.interactions import InteractionLog
from shared.split import Split
from training.semantic.anchors import Anchors, training_anchors

# Texts [A] that a device would send at each anchor [A].
WriteAbstracts = Callable[[Anchors], list[str]]


@dataclass(frozen=True, eq=False)
class TuningPairs:
    """What a device said, and what its user took next.

    Attributes:
        anchors: where the abstracts were written [n].
        text: the abstracts [n].
        target: [n] int64, item of the event that followed.
    """

    anchors: Anchors
    text: tuple[str, ...]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.text)

    def among(self, items: NDArray[np.int64]) -> TuningPairs:
        """With targets as places in ``items`` [K], ascending, which hold all of them."""
        return replace(self, target=np.searchsorted(items, self.target).astype(np.int64))


def tuning_pairs(
    log: InteractionLog, split: Split, per_user: int, most: int, write: WriteAbstracts, seed: int
) -> TuningPairs:
    """Up to ``most`` training requests: those whose targets the backbone is trained on, too."""
    return _pairs(log, training_anchors(split, per_user), most, write, seed)


def judging_pairs(
    log: InteractionLog, split: Split, most: int, write: WriteAbstracts, seed: int
) -> TuningPairs:
    """Up to ``most`` validation steps."""
    steps = split.validation()
    anchors = Anchors(steps.user.astype(np.int64), steps.step.astype(np.int64))
    return _pairs(log, anchors, most, write, seed)


def _pairs(
    log: InteractionLog, anchors: Anchors, most: int, write: WriteAbstracts, seed: int
) -> TuningPairs:
    some = np.sort(np.random.default_rng(seed).permutation(len(anchors))[:most])
    drawn = Anchors(anchors.user[some], anchors.tau[some])
    target = log.item[log.user_start[drawn.user] + drawn.tau].astype(np.int64)
    return TuningPairs(drawn, tuple(write(drawn)), target)
