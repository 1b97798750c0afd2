"""The generator as a training stage: item tokens, network and history, reused when nothing changed.

While it trains, its last finished epoch lies under ``stages/.unfinished``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cloud_service.generation
import training.generative
from shared.errors import ConfigError
from shared.generator_config import GeneratorConfig
from shared.interactions import Catalogue
from shared.item_tokens import ItemTokens
from shared.progress import Progress
from shared.split import Split
from training.backbone.batches import Events
from training.backbone.objective import RepeatPolicy
from training.generative.fit import GeneratorOptions, Validation, train_generator
from training.generative.item_codes import random_tokens, text_tokens
from training.generative.trained import GENERATOR, TrainedGenerator
from training.learning import Checkpoint, reproducible
from training.settings import GenerativeSettings
from training.stages.stage import Stage, threaded
from training.steps import TrainingSteps

_SIZES = {
    "cpu": {"d_model": 64, "d_ff": 256, "d_kv": 16, "heads": 4, "layers": 2},
    "medium": {"d_model": 256, "d_ff": 1024, "d_kv": 64, "heads": 4, "layers": 2},
    # T5-small, the backbone of P5-small and of POD.
    "paper": {"d_model": 512, "d_ff": 2048, "d_kv": 64, "heads": 8, "layers": 6},
}
LEVELS = 2  # codes of an item, the last one aside
DROPOUT = 0.1
VALIDATION_USERS = 2000  # judged after each epoch
THREADS = 1  # sums in one order, on every machine


def generator_stage(
    catalogue: Catalogue,
    steps: TrainingSteps,
    chosen: GenerativeSettings,
    policy: RepeatPolicy,
    *,
    items: Stage[NDArray[np.float32]] | None,
    seed: int,
    unfinished: Path,
) -> Stage[TrainedGenerator]:
    """P5 or POD, and the items' tokens.

    Args:
        items: embeddings of the items' texts that tokens are made from; None: random tokens.
        unfinished: folder for the last finished epoch of training that goes on.
    """
    options = generator_options(chosen, policy)
    known = steps.events.keep_first(steps.split.calibration_start)
    held = held_out(steps.events, steps.split, VALIDATION_USERS, seed)

    def fit(progress: Progress, *text: NDArray[np.float32]) -> TrainedGenerator:
        tokens = item_tokens(catalogue, text[0] if text else None, chosen, seed)
        checkpoint = checkpoint_of(stage, unfinished)
        try:
            network, epochs = train_generator(
                known,
                held,
                tokens,
                generator_config(chosen, tokens.sizes),
                options,
                checkpoint=checkpoint,
                seed=seed,
                threads=THREADS,
                progress=progress,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot keep the unfinished generator {checkpoint.path}: {error}; make room there "
                "or set SCALREC_WORK_DIR to another folder"
            ) from error
        return TrainedGenerator(network, tokens, epochs)

    stage: Stage[TrainedGenerator] = Stage(
        name=f"generator-{chosen.model}",
        options=(
            *(generator_config(chosen, (1,)), options, seed, THREADS),
            chosen.model_dump(include={"tokens", "codes"}) | {"levels": LEVELS},
        ),
        inputs={"ids": catalogue.ids, "texts": catalogue.texts, "events": known, "held": held},
        upstream=() if items is None else (items,),
        code=(training.generative, cloud_service.generation, Events, reproducible),
        libraries=("numpy", "torch", "transformers"),
        build=threaded(fit),
        form=GENERATOR,
    )
    return stage


def checkpoint_of(stage: Stage[TrainedGenerator], unfinished: Path) -> Checkpoint:
    """Where training of a stage that is not finished goes on."""
    return Checkpoint(unfinished / f"{stage.name}-{stage.key}.safetensors")


def generator_config(chosen: GenerativeSettings, levels: tuple[int, ...]) -> GeneratorConfig:
    sizes: dict[str, Any] = _SIZES[chosen.size]
    return GeneratorConfig(
        model=chosen.model,
        levels=levels,
        history=chosen.history,
        dropout=DROPOUT,
        **sizes,
    )


def generator_options(chosen: GenerativeSettings, policy: RepeatPolicy) -> GeneratorOptions:
    return GeneratorOptions(
        epochs=chosen.epochs, precision=chosen.precision, exclude_seen=policy == "exclude"
    )


def item_tokens(
    catalogue: Catalogue, text: NDArray[np.float32] | None, chosen: GenerativeSettings, seed: int
) -> ItemTokens:
    """Tokens from ``text`` [I, m], embeddings of the items' texts; random ones without."""
    if text is None:
        return random_tokens(catalogue, levels=LEVELS, seed=seed)
    return text_tokens(catalogue, text, levels=LEVELS, codes=chosen.codes, seed=seed)


def held_out(events: Events, split: Split, users: int, seed: int) -> Validation:
    """The first validation step of a sample of ``users`` users, drawn once."""
    step = split.validation_start
    able = np.flatnonzero((split.test_start > step) & (step > 0))
    if len(able) > users:
        able = np.sort(np.random.default_rng(seed).choice(able, users, replace=False))
    item = events.item.astype(np.int64)
    start = events.user_start[able]
    rows = start + step[able]
    histories = tuple(item[a:b] for a, b in zip(start, rows, strict=True))
    return Validation(histories, item[rows])
