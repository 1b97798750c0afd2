"""From an interaction log to a trained model, stage by stage; finished stages are reused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from device_runtime.abstract import TemplateAbstract
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from shared.split import split_log
from training import stage_forms
from training.anchors import Anchors, merge, stale_anchors, training_anchors, write_abstracts
from training.backbone import TrainedBackbone, train_backbone
from training.background import in_thread
from training.batches import Events
from training.calibration_fit import (
    CalibrationOptions,
    FittedCalibration,
    fit_calibration,
)
from training.datasets.registry import repeat_policy
from training.embedding_cache import EmbeddingCache
from training.fingerprint import stage_keys
from training.generative.stage import generative_model
from training.lsc4rec.collaboration import with_collaboration
from training.options import (
    backbone_options,
    calibration_options,
    encoder_config,
    gate_options,
    item_start,
    projector_options,
)
from training.pairs import Pairs, block_pairs, pairs_at_gap, training_pairs
from training.projector import FittedProjector, fit_projector
from training.refresh.stage import with_refreshes
from training.requests import Requests, make_requests
from training.semantics import embed_texts
from training.settings import Recipe
from training.stages import Saved, StageStore
from training.trained import TrainedModel, validation_figures

T = TypeVar("T")
VALIDATION_GAPS = (0, 1, 2, 5, 10, 20)
STALE_PARTNERS = 4  # older snapshots that a request is paired with to fit the calibrator
TRAINING_PER_BLOCK = 2  # requests of training beside one of the calibration block


async def train(
    settings: Recipe,
    log: InteractionLog,
    embedder: Embedder,
    *,
    progress: Progress | None = None,
    force: bool = False,
) -> TrainedModel:
    """Train everything a bundle needs, or reuse what earlier runs under ``work_dir`` finished.

    Args:
        embedder: must be the one the cloud will serve with; embeddings are cached under
            ``settings.cache``.
        force: compute all stages anew (embeddings stay cached).

    Raises:
        DataError: the log is too small to train on, or training diverged.
        EmbedderError: the embedder does not answer or answers unusable vectors.
        ConfigError: the work or cache folder cannot be written.
    """
    async with opened_run(settings, log, embedder, progress or NullProgress(), force=force) as run:
        trained = await with_refreshes(run, await run.all())
        trained = await with_collaboration(run, trained)
        # The stages after those of ``all``, too.
        seconds, reused = dict(run.store.seconds), tuple(run.store.reused)
        return replace(trained, stage_seconds=seconds, reused=reused)


@asynccontextmanager
async def opened_run(
    settings: Recipe,
    log: InteractionLog,
    embedder: Embedder,
    progress: Progress,
    *,
    force: bool = False,
) -> AsyncIterator[TrainingRun]:
    """A run over the stages under ``work_dir`` and the embeddings under ``cache``.

    Args and errors as for ``train``; the cache is closed at the end.
    """
    await embedder.ready()
    store = StageStore(settings.work_dir / "stages", force=force)
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        yield TrainingRun(settings, log, embedder, cache, store, progress)


class TrainingRun:
    """One training run: inputs that its stages share, and their keys."""

    _text: NDArray[np.float32] | None = None

    def __init__(
        self,
        settings: Recipe,
        log: InteractionLog,
        embedder: Embedder,
        cache: EmbeddingCache,
        store: StageStore,
        progress: Progress,
    ) -> None:
        self.settings, self.log, self.embedder = settings, log, embedder
        self.cache, self.store, self.progress = cache, store, progress
        options = settings.training
        self.policy = repeat_policy(settings.log, log)
        self.split = split_log(
            log,
            test_steps=options.test_steps,
            validation_steps=options.validation_steps,
            calibration_steps=options.calibration_steps,
        )
        self.events = events_of(log).keep_first(self.split.test_start)
        self.trained_on = training_anchors(self.split, options.abstracts_per_user)
        self.calibration, self.validation = self.split.calibration(), self.split.validation()
        self.anchors = merge(
            self.trained_on,
            stale_anchors(self.calibration, VALIDATION_GAPS),
            stale_anchors(self.validation, VALIDATION_GAPS),
        )
        self.keys = stage_keys(settings, log, embedder.identity, self.policy)
        self._requests: Requests | None = None

    def with_seed(self, seed: int) -> TrainingRun:
        """This run with another seed; stages that do not read the seed are shared."""
        if seed == self.settings.seed:
            return self
        settings = self.settings.model_copy(update={"seed": seed})
        return TrainingRun(settings, self.log, self.embedder, self.cache, self.store, self.progress)

    async def all(self) -> TrainedModel:
        """Every stage that a bundle needs."""
        backbone, text = await self.backbone(), await self.text()
        projector = await self.stage(
            "projector", lambda: self.fit_projector(backbone, text), stage_forms.PROJECTOR
        )
        options = calibration_options(self.settings, self.policy)
        calibration = await self.stage(
            "calibration",
            lambda: self.fit_calibration(backbone, projector, text, options),
            stage_forms.CALIBRATION,
        )
        generates = self.settings.cloud.candidates_from == "generative"
        generator = await generative_model(self) if generates else None
        aside = self.cache.set_aside
        return TrainedModel(
            log=self.log,
            split=self.split,
            repeat_policy=self.policy,
            embedder=self.embedder.identity,
            backbone=backbone,
            projector=projector,
            calibration=calibration,
            popularity=self.popularity(),
            figures=validation_figures(backbone, projector, calibration),
            stage_seconds=dict(self.store.seconds),
            reused=tuple(self.store.reused),
            notes=() if aside is None else (f"a damaged embedding cache was moved to {aside}",),
            generator=generator,
        )

    async def backbone(self) -> TrainedBackbone:
        items = await self.stage("items", self.embed_items, stage_forms.MATRIX)
        return await self.stage("backbone", lambda: self.fit_backbone(items), stage_forms.BACKBONE)

    async def text(self) -> NDArray[np.float32]:
        """[A, m] embedding of every anchor's abstract."""
        if self._text is None:
            self._text = await self.stage("abstracts", self.embed_abstracts, stage_forms.MATRIX)
        return self._text

    async def gate(self, trained: TrainedModel) -> FittedCalibration:
        """The opponent of calibration that only learns how far to trust the semantic channel."""
        text = await self.text()
        return await self.stage(
            "gate",
            lambda: self.fit_calibration(
                trained.backbone,
                trained.projector,
                text,
                gate_options(self.settings, self.policy),
            ),
            stage_forms.CALIBRATION,
        )

    async def stage(self, name: str, build: Callable[[], Awaitable[T]], form: Saved[T]) -> T:
        return await self.store.run(name, self.keys[name], build, form)

    async def embed_items(self) -> NDArray[np.float32]:
        return await self.embed(self.log.catalogue.texts, "embedding items")

    async def embed_abstracts(self) -> NDArray[np.float32]:
        writer = TemplateAbstract(self.log.catalogue, self.settings.abstract.form)
        texts = write_abstracts(self.log, self.anchors, writer, self.settings.profile)
        return await self.embed(texts, "embedding abstracts")

    async def embed(self, texts: Sequence[str], label: str) -> NDArray[np.float32]:
        options = self.settings.embedder
        return await embed_texts(
            self.embedder,
            texts,
            self.cache,
            batch_size=options.batch_size,
            progress=self.progress,
            label=label,
            variant=f"max_tokens={options.max_tokens}",
        )

    async def fit_backbone(self, items: NDArray[np.float32]) -> TrainedBackbone:
        settings = self.settings
        return await in_thread(
            lambda progress: train_backbone(
                self.events,
                encoder_config(settings, has_time=self.log.time is not None),
                backbone_options(settings, self.policy, len(self.log.catalogue)),
                n_items=len(self.log.catalogue),
                calibration_start=self.split.calibration_start,
                validation_start=self.split.validation_start,
                test_start=self.split.test_start,
                item_init=item_start(settings, items),
                seed=settings.seed,
                threads=settings.training.threads,
                progress=progress,
            ),
            self.progress,
        )

    async def fit_projector(
        self, backbone: TrainedBackbone, text: NDArray[np.float32]
    ) -> FittedProjector:
        settings = self.settings
        return await in_thread(
            lambda progress: fit_projector(
                self.requests(backbone, progress),
                text,
                self.rows(self.trained_on),
                self.anchors.find(self.validation.user, self.validation.step),
                projector_options(settings, self.policy),
                stop=self.split.calibration_start,
                seed=settings.seed,
                threads=settings.training.threads,
                progress=progress,
            ),
            self.progress,
        )

    async def fit_calibration(
        self,
        backbone: TrainedBackbone,
        projector: FittedProjector,
        text: NDArray[np.float32],
        options: CalibrationOptions,
    ) -> FittedCalibration:
        settings = self.settings
        with torch.no_grad():
            e_sem = projector.projector(torch.from_numpy(text))
        return await in_thread(
            lambda progress: fit_calibration(
                self.requests(backbone, progress),
                e_sem,
                self.calibration_pairs(),
                {g: pairs_at_gap(self.anchors, self.validation, g) for g in VALIDATION_GAPS},
                projector.fusion_weight,
                options,
                labelled=self.block(),
                seed=settings.seed,
                threads=settings.training.threads,
                progress=progress,
            ),
            self.progress,
        )

    def calibration_pairs(self) -> Pairs:
        """Of the calibration block and some of training; of training alone without a block."""
        training, block = self.rows(self.trained_on), self.block()
        if block is None:
            return training_pairs(self.anchors, training)
        rng = np.random.default_rng(self.settings.seed)
        some = rng.permutation(training)[: TRAINING_PER_BLOCK * len(block)]
        fresh = np.union1d(block, some)
        return block_pairs(self.anchors, fresh, rng, partners=STALE_PARTNERS)

    def block(self) -> NDArray[np.int64] | None:
        """Anchors of the calibration block, whose targets the backbone has not met."""
        if len(self.calibration) == 0:
            return None
        return self.anchors.find(self.calibration.user, self.calibration.step)

    def requests(self, backbone: TrainedBackbone, progress: Progress) -> Requests:
        """Histories encoded once; only when a stage that needs them is not reused."""
        if self._requests is None:
            self._requests = make_requests(
                backbone.model,
                backbone.table,
                self.events,
                self.anchors,
                progress,
                sessions_of(self.log, self.split.test_start),
            )
        return self._requests

    def rows(self, anchors: Anchors) -> NDArray[np.int64]:
        return self.anchors.find(anchors.user, anchors.tau)

    def popularity(self) -> NDArray[np.float32]:
        known = self.events.keep_first(self.split.validation_start)
        return np.bincount(known.item, minlength=len(self.log.catalogue)).astype(np.float32)


def sessions_of(
    log: InteractionLog, stop: NDArray[np.int64] | None = None
) -> NDArray[np.int64] | None:
    """The log's own session of every event, of each user's first ``stop`` [U]; None without any."""
    if log.session is None or stop is None:
        return log.session
    place = np.arange(len(log.item)) - np.repeat(log.user_start[:-1], log.counts())
    return log.session[place < np.repeat(stop, log.counts())]


def events_of(log: InteractionLog) -> Events:
    """The log's columns as the backbone reads them."""
    return Events(log.item, log.local_hour_of_week(), log.user_start, log.time)
