"""The cloud's candidate lists for all requests of the study, as a stage that all SRMs share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.progress import Progress
from training.background import in_thread
from training.fingerprint import code_hash_with_cloud
from training.generative.stage import generative_model, generator_key
from training.generative.trained import TrainedGenerator
from training.lsc4rec.asked import (
    LATENESS,
    Asked,
    requests_of_test,
    requests_of_training,
    requests_of_validation,
)
from training.lsc4rec.cloud_lists import Lists
from training.pipeline import TrainingRun, events_of
from training.settings import Lsc4recSettings
from training.stages import Saved, load_arrays, save_arrays, stage_key

# Of the cloud's model, whatever the seed: the SRMs of all seeds share it.
LLM_SEED = 0
_CODE = ("training.lsc4rec.asked", "training.generative.candidates")


@dataclass(frozen=True, eq=False)
class Listed:
    """Requests of every kind with their lists, by gap: how late the cloud's history was.

    Training requests have late lists alone: they teach the SRM and set thresholds.
    """

    training: Asked
    validation: Asked
    test: Asked
    of_training: Lists
    of_validation: dict[int, Lists]
    of_test: dict[int, Lists]


async def candidate_lists(run: TrainingRun) -> tuple[TrainedGenerator, Listed, str]:
    """The cloud's model, its lists and their stage's key.

    Raises:
        DataError, EmbedderError, ConfigError: as ``generative_model``.
    """
    chosen = run.settings.lsc4rec
    cloud = run.with_seed(LLM_SEED)
    generator = await generative_model(cloud)
    key = stage_key(
        code=code_hash_with_cloud(_CODE),
        upstream=[generator_key(cloud)],
        steps=run.settings.paper.steps,
        plan=chosen.model_dump(include={"training_users", "validation_users"}),
        lateness=LATENESS,
        longest=chosen.longest,
    )
    events = events_of(run.log)
    training = requests_of_training(events, run.split, chosen)
    validation = requests_of_validation(events, run.split, chosen)
    test = requests_of_test(events, run.split, run.settings.paper.steps)
    wanted = {("training", LATENESS): training}
    for gap in (0, LATENESS):
        wanted |= {("validation", gap): validation, ("test", gap): test}
    exclude = run.policy == "exclude"

    async def build() -> dict[str, Lists]:
        return await in_thread(
            lambda progress: {
                f"{kind}-{gap}": _written(generator, asked, gap, chosen, exclude, progress)
                for (kind, gap), asked in wanted.items()
            },
            run.progress,
        )

    found = await run.store.run(f"lists-{run.settings.generative.model}", key, build, LISTS)
    gaps = (0, LATENESS)
    listed = Listed(
        training,
        validation,
        test,
        found[f"training-{LATENESS}"],
        {gap: found[f"validation-{gap}"] for gap in gaps},
        {gap: found[f"test-{gap}"] for gap in gaps},
    )
    return generator, listed, key


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
