"""The stage of the device's structure model, as the settings ask for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from training.backbone.fit import TrainedBackbone
from training.backbone.objective import RepeatPolicy
from training.options import backbone_options, encoder_config
from training.settings import Recipe
from training.stages.backbone import backbone_stage, distilled_stage
from training.stages.stage import Stage
from training.steps import TrainingSteps

TEACHERS = 2


def structure_stage(
    settings: Recipe,
    policy: RepeatPolicy,
    steps: TrainingSteps,
    items: Stage[NDArray[np.float32]],
    *,
    n_items: int,
    has_time: bool,
) -> Stage[TrainedBackbone]:
    """Trained on the log alone, or (``training.distil``) also taught by two of other seeds.

    Args:
        items: embeddings of all items' texts.
        n_items: items that ``steps`` knows.

    Raises:
        ConfigError: ``training.distil``, and more items than a loss over all of them is for.
    """
    options = backbone_options(settings, policy, n_items)
    config, training = encoder_config(settings, has_time=has_time), settings.training
    start = items if training.item_start == "text" else None

    def alone(seed: int) -> Stage[TrainedBackbone]:
        return backbone_stage(
            steps,
            config,
            options,
            n_items=n_items,
            items=start,
            seed=seed,
            threads=training.threads,
        )

    if not training.distil:
        return alone(settings.seed)
    if options.negatives is not None:
        raise ConfigError(
            f"training.distil compares answers over the whole catalogue, and {n_items} items are "
            "too many for that: set training.distil=false"
        )
    return distilled_stage(
        steps,
        config,
        options,
        n_items=n_items,
        items=start,
        teachers=tuple(alone(seed) for seed in teaching(settings.seed)),
        seed=settings.seed,
        threads=training.threads,
    )


def teaching(seed: int) -> tuple[int, ...]:
    """Seeds of the teachers: the others of its three, which thus teach each other."""
    first = seed - seed % (TEACHERS + 1)
    return tuple(other for other in range(first, first + TEACHERS + 1) if other != seed)
