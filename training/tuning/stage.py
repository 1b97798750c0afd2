"""The tuned text model as a training stage: a model folder, found again when nothing changed.

The folder's name holds the stage's key, and a model goes by its folder's name in bundles and in
the embedding cache: vectors of two tunings can never be taken for each other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import cloud_service.embedding
import training.tuning
from cloud_service.embedding.base import model_content, model_name
from cloud_service.embedding.batcher import Batcher
from device_runtime.abstract.writer import TemplateAbstract
from launch.model_files import resolve_model
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.learning import Checkpoint, Epoch, best_of, reproducible
from training.semantic.anchors import Anchors, write_abstracts
from training.settings import LoraSettings, Recipe
from training.splitting import known_items, log_at_split, split_of
from training.stages.content import fingerprint
from training.stages.forms import Saved
from training.stages.stage import Stage, threaded
from training.stages.store import StageStore
from training.stages.texts import WRITING
from training.tuning.adapters import THREADS, AdaptedEncoder, save_merged
from training.tuning.fit import tune
from training.tuning.pairs import judging_pairs, tuning_pairs

R = TypeVar("R", bound=Recipe)
HISTORY = "tuning.json"


@dataclass(frozen=True, eq=False)
class TunedModel:
    """What tuning came to.

    Attributes:
        folder: the tuned model in Hugging Face form; None where no epoch was better than the model
            as it came.
        epochs: the first is that of the model as it came.
    """

    folder: Path | None
    epochs: tuple[Epoch, ...]


async def with_tuned_model(settings: R, log: InteractionLog, progress: Progress) -> R:
    """The settings with the tuned model in the place of the one to be tuned, if they ask for that.

    Where tuning did not help on validation, the model stays the one it was.
    Raises what ``tuned_model`` does.
    """
    wanted = settings.embedder
    if wanted.lora is None:
        return settings
    tuned = await tuned_model(settings, log, wanted.lora, progress=progress)
    model = wanted.model if tuned.folder is None else str(tuned.folder)
    embedder = wanted.model_copy(update={"model": model, "lora": None})
    return settings.model_copy(update={"embedder": embedder})


async def tuned_model(
    settings: Recipe,
    log: InteractionLog,
    lora: LoraSettings,
    *,
    progress: Progress,
    force: bool = False,
) -> TunedModel:
    """Tune ``settings.embedder.model`` on the log's training requests, or find it tuned.

    Args:
        force: tune anew although a finished model is there.

    Raises:
        ConfigError: there is no such model, the back end has none, or the work folder cannot be
            written.
        DataError: the log is too small, the model's files are damaged, or training diverged.
    """
    wanted = settings.embedder
    if not wanted.needs_model:
        raise ConfigError(
            "embedder.lora tunes a model of this machine: set embedder.backend to vllm or "
            "transformers, and no embedder.url"
        )
    source = resolve_model(wanted.model, cache=settings.cache)
    store = StageStore((settings.work_dir / "stages").absolute(), force=force)
    unfinished = store.root / ".unfinished"
    stage = tuning_stage(settings, log, lora, source, unfinished)
    if force:
        _checkpoint(stage, unfinished).remove()
    fitted = await store.result(stage, progress)
    _checkpoint(stage, unfinished).remove()
    folder = store.root / f"{stage.name}-{stage.key}"
    return TunedModel(folder if best_of(fitted.epochs).epoch else None, fitted.epochs)


def tuning_stage(
    settings: Recipe, log: InteractionLog, lora: LoraSettings, source: Path, unfinished: Path
) -> Stage[_Fitted]:
    """The model in the folder ``source``, tuned.

    Args:
        unfinished: folder for the last finished epoch of training that goes on.
    """
    options, wanted = settings.training, settings.embedder
    stage: Stage[_Fitted] = Stage(
        name=f"{model_name(wanted.model)}-lora",
        options={
            "seed": settings.seed,
            "embedder": wanted.model_dump(include={"pooling", "max_tokens"}),
            "split": options.model_dump(
                mode="json",
                include={
                    *("split", "split_at", "test_steps", "validation_steps", "calibration_steps")
                },
            ),
            "per_user": options.abstracts_per_user,
            "profile": settings.profile.model_dump(include={"window", "retain"}),
            "abstract": settings.abstract.model_dump(exclude={"item_tokens"}),
            "lora": lora,
        },
        inputs={"data": fingerprint(log), "model": model_content(str(source))},
        code=(training.tuning, reproducible, *WRITING, cloud_service.embedding, Batcher),
        libraries=("numpy", "torch", "peft", "transformers"),
        build=threaded(
            lambda progress: _fit(
                settings, log, lora, source, _checkpoint(stage, unfinished), progress
            )
        ),
        form=Saved(
            save=lambda fitted, target: _save(fitted, source, target),
            load=lambda found: _Fitted(_history(found), None),
        ),
    )
    return stage


def _checkpoint(stage: Stage[_Fitted], unfinished: Path) -> Checkpoint:
    return Checkpoint(unfinished / f"{stage.name}-{stage.key}.safetensors")


@dataclass(frozen=True, eq=False)
class _Fitted:
    epochs: tuple[Epoch, ...]
    encoder: AdaptedEncoder | None  # None when it lies on disk


def _fit(
    settings: Recipe,
    log: InteractionLog,
    lora: LoraSettings,
    source: Path,
    checkpoint: Checkpoint,
    progress: Progress,
) -> _Fitted:
    options, wanted = settings.training, settings.embedder
    split = split_of(log, options, calibration=True)
    log, items = log_at_split(log, split, options), known_items(log, split, options)
    writer = TemplateAbstract(log.catalogue, settings.abstract.form)

    def write(anchors: Anchors) -> list[str]:
        return write_abstracts(log, anchors, writer, settings.profile)

    seed = settings.seed
    with progress.task("writing abstracts to tune with"):
        training = tuning_pairs(log, split, options.abstracts_per_user, lora.abstracts, write, seed)
        validation = judging_pairs(log, split, lora.validation_requests, write, seed)
    texts = log.catalogue.texts
    if items is not None:  # nothing is compared with an item that appeared later
        texts = tuple(texts[item] for item in items.tolist())
        training, validation = (pairs.among(items) for pairs in (training, validation))
    with reproducible(seed, THREADS):  # the adapters' first factors are random
        encoder = AdaptedEncoder(source, lora, pooling=wanted.pooling, max_tokens=wanted.max_tokens)
    try:
        epochs = tune(
            encoder,
            texts,
            training,
            validation,
            lora,
            checkpoint=checkpoint,
            seed=seed,
            progress=progress,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot keep the unfinished adapters {checkpoint.path}: {error}; make room there or "
            "set SCALREC_WORK_DIR to another folder"
        ) from error
    return _Fitted(epochs, encoder)


def _save(fitted: _Fitted, source: Path, target: Path) -> None:
    if best_of(fitted.epochs).epoch and fitted.encoder is not None:
        save_merged(fitted.encoder.merged(), source, target)
    text = json.dumps([asdict(epoch) for epoch in fitted.epochs], indent=1)
    (target / HISTORY).write_text(text + "\n")


def _history(folder: Path) -> tuple[Epoch, ...]:
    return tuple(Epoch(**one) for one in json.loads((folder / HISTORY).read_text()))
