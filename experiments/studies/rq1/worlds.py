"""Worlds: the requests that methods of other papers are fitted on and scored at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from device_runtime.abstract.writer import TemplateAbstract
from experiments.studies.scalrec.rules_by_setting import ChosenOn, validation_of
from experiments.studies.scored_requests import encode_scored
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.split import Steps
from training.baselines.base import Fitting, World
from training.run import TrainingRun
from training.semantic.anchors import Anchors, write_abstracts
from training.steps import told_to_writers
from training.trained import TrainedModel
from training.twin import make_twin


async def world_of(run: TrainingRun, trained: TrainedModel) -> tuple[World, Steps]:
    """The requests of the last ``paper.steps`` test steps at every age, and these steps.

    Raises:
        EmbedderError: the embedder does not answer or answers unusable vectors.
    """
    scored = await encode_scored(run, trained)
    twin = make_twin(run.settings, trained, scored.requests, scored.e_sem, scored.words)
    return World(twin, scored.texts), scored.steps


async def fitting_of(
    run: TrainingRun, trained: TrainedModel, *, most_epochs: int | None
) -> Fitting:
    """What methods are fitted with, over the run's own anchors.

    Raises:
        ConfigError: training does not know all items (``training.split=global``).
    """
    run.require_all_items("a comparison with other papers' methods")
    chosen_on = validation_of(run, trained, await run.text(), await run.said())
    return fitting_on(run, trained, chosen_on, most_epochs=most_epochs)


def fitting_on(
    run: TrainingRun, trained: TrainedModel, chosen_on: ChosenOn, *, most_epochs: int | None
) -> Fitting:
    """As ``fitting_of``, where the validation twin is at hand."""
    abstracts = WrittenWhenRead(
        log=told_to_writers(run.log, run.split),
        anchors=run.steps.anchors,
        form=run.form,
        profile=run.settings.profile,
    )
    return Fitting(
        run=run,
        trained=trained,
        world=World(chosen_on.twin, abstracts),
        validation=chosen_on.pairs,
        most_epochs=most_epochs,
    )


@dataclass(frozen=True, eq=False)
class WrittenWhenRead(Sequence[str]):
    """Abstracts [A] of a log's anchors, each written when it is first read: most never are."""

    log: InteractionLog
    anchors: Anchors
    form: AbstractForm
    profile: DeviceProfile
    _written: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.anchors)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        if row not in self._written:
            rows = np.array([row])
            one = Anchors(self.anchors.user[rows], self.anchors.tau[rows])
            writer = TemplateAbstract(self.log.catalogue, self.form)
            [self._written[row]] = write_abstracts(self.log, one, writer, self.profile)
        return self._written[row]
