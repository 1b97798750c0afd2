"""The cloud's candidate lists for all requests of the study, as a stage that all SRMs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.progress import Progress
from training.backbone.batches import events_of
from training.collaboration.asked import (
    LLM_SEED,
    Asked,
    Lists,
    requests_of_calibration,
    requests_of_test,
    requests_of_validation,
    requests_trained_on,
)
from training.generative.candidates import candidate_lists as generated_lists
from training.generative.trained import TrainedGenerator
from training.run import TrainingRun
from training.settings import Lsc4recSettings
from training.stages.forms import Saved, load_arrays, save_arrays
from training.stages.stage import Stage, threaded


@dataclass(frozen=True, eq=False)
class Listed:
    """Requests of every kind with their lists, by gap: how late the cloud's history was.

    Calibration requests teach the SRM; those that models were trained on set the paper's
    thresholds. Both have late lists alone.
    """

    calibration: Asked
    trained_on: Asked
    validation: Asked
    test: Asked
    of_calibration: Lists
    of_trained_on: Lists
    of_validation: dict[int, Lists]
    of_test: dict[int, Lists]


async def candidate_lists(run: TrainingRun) -> tuple[TrainedGenerator, Listed, str]:
    """The cloud's model, its lists and their stage's key.

    Raises:
        ConfigError: no user has a calibration step; and as ``TrainingRun.generative_model``.
        DataError, EmbedderError: as ``TrainingRun.generative_model``.
    """
    chosen = run.settings.lsc4rec
    events = events_of(run.log)
    calibration = requests_of_calibration(events, run.split, chosen)
    if len(calibration) == 0:
        raise ConfigError(
            "no user has a calibration step, and cooperative training needs targets that no model "
            f"was trained on: set training.calibration_steps (now "
            f"{run.settings.training.calibration_steps}) to 1 or more, on a log whose users have "
            "three training events"
        )
    cloud = run.with_seed(LLM_SEED)
    generator = await cloud.generative_model()
    trained_on = requests_trained_on(events, run.split, chosen)
    validation = requests_of_validation(events, run.split, chosen)
    test = requests_of_test(events, run.split, run.settings.paper.steps)
    late, gaps = chosen.lateness, (0, chosen.lateness)
    wanted = {("calibration", late): calibration, ("trained-on", late): trained_on}
    for gap in gaps:
        wanted |= {("validation", gap): validation, ("test", gap): test}
    stage = lists_stage(run, cloud, wanted)
    found = await run.result(stage)
    listed = Listed(
        calibration=calibration,
        trained_on=trained_on,
        validation=validation,
        test=test,
        of_calibration=found[f"calibration-{late}"],
        of_trained_on=found[f"trained-on-{late}"],
        of_validation={gap: found[f"validation-{gap}"] for gap in gaps},
        of_test={gap: found[f"test-{gap}"] for gap in gaps},
    )
    return generator, listed, stage.key


def lists_stage(
    run: TrainingRun, cloud: TrainingRun, wanted: Mapping[tuple[str, int], Asked]
) -> Stage[dict[str, Lists]]:
    """The lists of ``wanted`` requests, by kind and gap, of the generator of the run ``cloud``."""
    chosen, exclude = run.settings.lsc4rec, run.policy == "exclude"

    def write(progress: Progress, generator: TrainedGenerator) -> dict[str, Lists]:
        return {
            f"{kind}-{gap}": _written(generator, asked, gap, chosen, exclude, progress)
            for (kind, gap), asked in wanted.items()
        }

    return Stage(
        name=f"lists-{run.settings.generative.model}",
        options={"longest": chosen.longest, "exclude_seen": exclude},
        inputs={f"{kind}-{gap}": asked for (kind, gap), asked in wanted.items()},
        upstream=(cloud.generator,),
        code=(lists_stage, Asked, Lists, generated_lists),
        build=threaded(write),
        form=LISTS,
    )


def _written(
    generator: TrainedGenerator,
    asked: Asked,
    gap: int,
    chosen: Lsc4recSettings,
    exclude: bool,
    progress: Progress,
) -> Lists:
    items, scores = generator.candidate_lists(
        asked.known_at(gap), chosen.longest, exclude_seen=exclude, progress=progress
    )
    return Lists(items, scores)


LISTS: Saved[dict[str, Lists]] = Saved(
    save=lambda lists, folder: save_arrays(
        folder,
        {f"{name}.items": found.items for name, found in lists.items()}
        | {f"{name}.scores": found.scores for name, found in lists.items()},
    ),
    load=lambda folder: _loaded(load_arrays(folder)[0]),
)


def _loaded(arrays: dict[str, NDArray[np.generic]]) -> dict[str, Lists]:
    names = sorted({name.rpartition(".")[0] for name in arrays})
    return {
        name: Lists(
            np.asarray(arrays[f"{name}.items"], np.int32),
            np.asarray(arrays[f"{name}.scores"], np.float32),
        )
        for name in names
    }
