"""The generator as a training stage: item tokens, network and history, reused when nothing changed.

While it trains, its last finished epoch lies under ``stages/.unfinished``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.generator_config import GeneratorConfig
from shared.interactions import Catalogue
from shared.item_tokens import ItemTokens
from shared.progress import Progress
from shared.split import Split
from training import stage_forms
from training.background import in_thread
from training.batches import Events
from training.fingerprint import code_hash_with_cloud, fingerprint
from training.generative.checkpoint import Checkpoint
from training.generative.fit import GeneratorOptions, Validation, train_generator
from training.generative.item_codes import random_tokens, text_tokens
from training.generative.trained import GENERATOR, TrainedGenerator
from training.objective import RepeatPolicy
from training.settings import Recipe
from training.stages import stage_key

if TYPE_CHECKING:
    from training.pipeline import TrainingRun

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
_CODE = (
    "training.generative.fit",
    "training.generative.item_codes",
    "training.generative.stage:item_tokens",
    "training.generative.stage:held_out",
)


async def generative_model(run: TrainingRun) -> TrainedGenerator:
    """P5 or POD as ``run.settings.generative`` asks, trained on the run's training events.

    Raises:
        DataError: the log is too small to train on, or training diverged.
        EmbedderError, ConfigError: as from the run's other stages.
    """
    name, key = f"generator-{run.settings.generative.model}", generator_key(run)
    checkpoint = Checkpoint(run.store.root / ".unfinished" / f"{name}-{key}.safetensors")
    trained = await run.store.run(name, key, lambda: _train(run, checkpoint), GENERATOR)
    checkpoint.remove()
    return trained


def generator_key(run: TrainingRun) -> str:
    """Key of the stage: over all that tokens and weights depend on."""
    settings = run.settings
    chosen = settings.generative
    by_text = chosen.tokens == "text"
    return stage_key(
        code=code_hash_with_cloud(_CODE),
        torch=torch.__version__,
        transformers=transformers.__version__,
        seed=settings.seed,
        threads=THREADS,
        data=fingerprint(run.log),
        upstream=[run.keys["items"]] if by_text else [],
        split={
            "test": settings.training.test_steps,
            "validation": settings.training.validation_steps,
            "calibration": settings.training.calibration_steps,
        },
        tokens=chosen.model_dump(include={"tokens", "codes"}) | {"levels": LEVELS},
        config=generator_config(settings, (1,)).model_dump(),
        options=generator_options(settings, run.policy).model_dump(),
    )


def generator_config(settings: Recipe, levels: tuple[int, ...]) -> GeneratorConfig:
    chosen = settings.generative
    sizes: dict[str, Any] = _SIZES[chosen.size]
    return GeneratorConfig(
        model=chosen.model,
        levels=levels,
        history=chosen.history,
        dropout=DROPOUT,
        **sizes,
    )


def generator_options(settings: Recipe, policy: RepeatPolicy) -> GeneratorOptions:
    chosen = settings.generative
    return GeneratorOptions(
        epochs=chosen.epochs, precision=chosen.precision, exclude_seen=policy == "exclude"
    )


def item_tokens(
    catalogue: Catalogue, text: NDArray[np.float32] | None, settings: Recipe
) -> ItemTokens:
    """Tokens from ``text`` [I, m], embeddings of the items' texts; random ones without."""
    chosen, seed = settings.generative, settings.seed
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


async def _train(run: TrainingRun, checkpoint: Checkpoint) -> TrainedGenerator:
    text = None
    if run.settings.generative.tokens == "text":
        text = await run.stage("items", run.embed_items, stage_forms.MATRIX)
    return await in_thread(lambda progress: _fit(run, text, checkpoint, progress), run.progress)


def _fit(
    run: TrainingRun,
    text: NDArray[np.float32] | None,
    checkpoint: Checkpoint,
    progress: Progress,
) -> TrainedGenerator:
    settings = run.settings
    tokens = item_tokens(run.log.catalogue, text, settings)
    try:
        network, epochs = train_generator(
            run.events.keep_first(run.split.calibration_start),
            held_out(run.events, run.split, VALIDATION_USERS, settings.seed),
            tokens,
            generator_config(settings, tokens.sizes),
            generator_options(settings, run.policy),
            checkpoint=checkpoint,
            seed=settings.seed,
            threads=THREADS,
            progress=progress,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot keep the unfinished generator {checkpoint.path}: {error}; make room there or "
            "set SCALREC_WORK_DIR to another folder"
        ) from error
    return TrainedGenerator(network, tokens, epochs)
