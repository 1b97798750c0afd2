"""The stage that trains the device's encoder and item table, and the items it has not met."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import training.encoders
from shared.progress import Progress
from training.backbone.batches import Events
from training.backbone.checkpoint import load_backbone, save_backbone
from training.backbone.distil import distilling
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

    Its table holds the items that ``steps`` knows: no other one competes in its softmax, and the
    reduction of texts is fitted on theirs alone.

    Args:
        n_items: items that ``steps`` knows.
        items: embeddings of all items' texts that item vectors start from; None: random vectors.
    """
    return _stage(
        "backbone",
        steps,
        config,
        options,
        n_items=n_items,
        items=items,
        seed=seed,
        threads=threads,
    )


def distilled_stage(
    steps: TrainingSteps,
    config: EncoderConfig,
    options: BackboneOptions,
    *,
    n_items: int,
    items: Stage[NDArray[np.float32]] | None,
    teachers: tuple[Stage[TrainedBackbone], ...],
    seed: int,
    threads: int,
) -> Stage[TrainedBackbone]:
    """As ``backbone_stage``, taught by ``teachers`` on the same events."""
    return _stage(
        "distilled",
        steps,
        config,
        options,
        n_items=n_items,
        items=items,
        teachers=teachers,
        seed=seed,
        threads=threads,
    )


def _stage(
    name: str,
    steps: TrainingSteps,
    config: EncoderConfig,
    options: BackboneOptions,
    *,
    n_items: int,
    items: Stage[NDArray[np.float32]] | None,
    teachers: tuple[Stage[TrainedBackbone], ...] = (),
    seed: int,
    threads: int,
) -> Stage[TrainedBackbone]:
    split, events, known = steps.split, steps.events, steps.items
    texts = () if items is None else (items,)

    def fit(progress: Progress, *found: Any) -> TrainedBackbone:
        text, taught_by = found[: len(texts)], found[len(texts) :]
        starts = text if known is None else [rows[known] for rows in text]
        return train_backbone(
            events,
            config,
            options,
            n_items=n_items,
            calibration_start=split.calibration_start,
            validation_start=split.validation_start,
            test_start=split.test_start,
            item_init=reduce_vectors(starts[0], config.dim, seed) if starts else None,
            objective=distilling(taught_by, options.repeat_policy) if taught_by else None,
            seed=seed,
            threads=threads,
            progress=progress,
        )

    return Stage(
        name=name,
        options=(config, options, seed, threads),
        inputs={
            "events": events,
            "calibration_start": split.calibration_start,
            "validation_start": split.validation_start,
            "test_start": split.test_start,
            "n_items": n_items,
            "items": known,
        },
        upstream=(*texts, *teachers),
        code=(
            *(_stage, *FITTING, train_backbone, reduce_vectors, next_item_log_likelihood),
            *((distilling,) if teachers else ()),
        ),
        build=threaded(fit),
        form=BACKBONE,
    )


def with_later_items(
    trained: TrainedBackbone,
    items: NDArray[np.int64],
    n_items: int,
    training_events: NDArray[np.integer],
    *,
    text: NDArray[np.float32] | None,
    seed: int,
) -> TrainedBackbone:
    """The backbone over the whole catalogue: items that training did not know, beside those it did.

    A later item gets the vector that training would have started it from (its text, reduced as
    those of known items are, or a random one) and the bias of an item without any training event.

    Args:
        items: [K] known ones, in the order of the trained table.
        training_events: [K] events of each that the backbone was trained on.
        text: [I, m] embeddings of all items' texts; None: vectors were started at random.
    """
    later = np.setdiff1d(np.arange(n_items), items)
    dim, known = trained.model.config.dim, trained.table
    vectors = np.empty((n_items, dim), dtype=np.float32)
    bias = np.full(n_items, -np.log((training_events + 1.0).mean()), dtype=np.float32)
    vectors[items], bias[items] = (
        column.detach().numpy() for column in (known.vectors, known.bias)
    )
    if text is None:
        rng = np.random.default_rng(seed)
        vectors[later] = rng.standard_normal((len(later), dim)) / dim**0.5
    else:
        vectors[later] = reduce_vectors(text[later], dim, seed, fitted_on=text[items])
    table = ItemParameters(n_items, dim, vectors)
    with torch.no_grad():
        table.bias.copy_(torch.from_numpy(bias))
    return replace(trained, table=table)
