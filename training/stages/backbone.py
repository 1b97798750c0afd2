"""The stage that trains the device's encoder and item table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import training.encoders
from shared.progress import Progress
from training.backbone.batches import Events
from training.backbone.checkpoint import load_backbone, save_backbone
from training.backbone.evaluate import target_ranks
from training.backbone.fit import BackboneOptions, TrainedBackbone, train_backbone
from training.backbone.item_table import ItemParameters
from training.backbone.objective import next_item_log_likelihood
from training.encoders.base import EncoderConfig
from training.learning import reproducible
from training.semantic.texts import reduce_vectors
from training.stages.forms import Saved
from training.stages.stage import Stage, threaded
from training.steps import TrainingSteps

# What every fit of an encoder is made of.
FITTING = (training.encoders, Events, ItemParameters, target_ranks, reproducible)
FILE = "backbone.safetensors"
BACKBONE: Saved[TrainedBackbone] = Saved(
    save=lambda trained, folder: save_backbone(trained, folder / FILE),
    load=lambda folder: load_backbone(folder / FILE),
)


def backbone_stage(
    steps: TrainingSteps,
    config: EncoderConfig,
    options: BackboneOptions,
    *,
    n_items: int,
    items: Stage[NDArray[np.float32]] | None,
    seed: int,
    threads: int,
) -> Stage[TrainedBackbone]:
    """The encoder, trained on the events before each user's calibration block.

    Args:
        items: embeddings of the items' texts that item vectors start from; None: random vectors.
    """
    split, events = steps.split, steps.events

    def fit(progress: Progress, *text: NDArray[np.float32]) -> TrainedBackbone:
        return train_backbone(
            events,
            config,
            options,
            n_items=n_items,
            calibration_start=split.calibration_start,
            validation_start=split.validation_start,
            test_start=split.test_start,
            item_init=reduce_vectors(text[0], config.dim, seed) if text else None,
            seed=seed,
            threads=threads,
            progress=progress,
        )

    return Stage(
        name="backbone",
        options=(config, options, seed, threads),
        inputs={
            "events": events,
            "calibration_start": split.calibration_start,
            "validation_start": split.validation_start,
            "test_start": split.test_start,
            "n_items": n_items,
        },
        upstream=() if items is None else (items,),
        code=(backbone_stage, *FITTING, train_backbone, reduce_vectors, next_item_log_likelihood),
        build=threaded(fit),
        form=BACKBONE,
    )
