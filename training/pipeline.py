"""From an interaction log to a trained model, stage by stage; finished stages are reused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from device_runtime.abstract import TemplateAbstract
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from shared.settings import Settings
from shared.split import split_log
from training import stage_forms
from training.anchors import Anchors, merge, stale_anchors, training_anchors, write_abstracts
from training.backbone import TrainedBackbone, train_backbone
from training.background import in_thread
from training.batches import Events
from training.calibration_fit import FittedCalibration, fit_calibration
from training.datasets.registry import repeat_policy
from training.embedding_cache import EmbeddingCache
from training.fingerprint import stage_keys
from training.options import (
    backbone_options,
    calibration_options,
    encoder_config,
    projector_options,
)
from training.pairs import pairs_at_gap, training_pairs
from training.projector import FittedProjector, fit_projector
from training.requests import Requests, make_requests
from training.semantics import embed_texts, reduce_vectors
from training.stages import Saved, StageStore
from training.trained import TrainedModel, validation_figures

T = TypeVar("T")
VALIDATION_GAPS = (0, 5, 10, 20)


async def train(
    settings: Settings,
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
    await embedder.ready()
    store = StageStore(settings.work_dir / "stages", force=force)
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        run = _Run(settings, log, embedder, cache, store, progress or NullProgress())
        return await run.all()


class _Run:
    """One training run: inputs that its stages share, and their keys."""

    def __init__(
        self,
        settings: Settings,
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
        self._requests: Requests | None = None

    async def all(self) -> TrainedModel:
        keys = stage_keys(self.settings, self.log, self.embedder.identity, self.policy)

        async def stage(name: str, build: Callable[[], Awaitable[T]], form: Saved[T]) -> T:
            return await self.store.run(name, keys[name], build, form)

        items = await stage("items", self.embed_items, stage_forms.MATRIX)
        backbone = await stage("backbone", lambda: self.fit_backbone(items), stage_forms.BACKBONE)
        text = await stage("abstracts", self.embed_abstracts, stage_forms.MATRIX)
        projector = await stage(
            "projector", lambda: self.fit_projector(backbone, text), stage_forms.PROJECTOR
        )
        calibration = await stage(
            "calibration",
            lambda: self.fit_calibration(backbone, projector, text),
            stage_forms.CALIBRATION,
        )
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
        )

    async def embed_items(self) -> NDArray[np.float32]:
        return await self.embed(self.log.catalogue.texts, "embedding items")

    async def embed_abstracts(self) -> NDArray[np.float32]:
        writer = TemplateAbstract(self.log.catalogue, self.settings.abstract)
        texts = write_abstracts(self.log, self.anchors, writer, self.settings.profile)
        return await self.embed(texts, "embedding abstracts")

    async def embed(self, texts: Sequence[str], label: str) -> NDArray[np.float32]:
        options = self.settings.embedder
        return await embed_texts(
            self.embedder,
            texts,
            self.cache,
            batch_size=options.batch_size,
            concurrency=options.concurrency,
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
                item_init=reduce_vectors(items, settings.training.dim, settings.seed),
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
                seed=settings.seed,
                threads=settings.training.threads,
                progress=progress,
            ),
            self.progress,
        )

    async def fit_calibration(
        self, backbone: TrainedBackbone, projector: FittedProjector, text: NDArray[np.float32]
    ) -> FittedCalibration:
        settings = self.settings
        with torch.no_grad():
            e_sem = projector.projector(torch.from_numpy(text))
        return await in_thread(
            lambda progress: fit_calibration(
                self.requests(backbone, progress),
                e_sem,
                training_pairs(self.anchors, self.rows(self.trained_on)),
                {g: pairs_at_gap(self.anchors, self.validation, g) for g in VALIDATION_GAPS},
                projector.fusion_weight,
                calibration_options(settings, self.policy),
                seed=settings.seed,
                threads=settings.training.threads,
                progress=progress,
            ),
            self.progress,
        )

    def requests(self, backbone: TrainedBackbone, progress: Progress) -> Requests:
        """Histories encoded once; only when a stage that needs them is not reused."""
        if self._requests is None:
            self._requests = make_requests(
                backbone.model, backbone.table, self.events, self.anchors, progress
            )
        return self._requests

    def rows(self, anchors: Anchors) -> NDArray[np.int64]:
        return self.anchors.find(anchors.user, anchors.tau)

    def popularity(self) -> NDArray[np.float32]:
        known = self.events.keep_first(self.split.validation_start)
        return np.bincount(known.item, minlength=len(self.log.catalogue)).astype(np.float32)


def events_of(log: InteractionLog) -> Events:
    """The log's columns as the backbone reads them."""
    return Events(log.item, log.local_hour_of_week(), log.user_start, log.time)
