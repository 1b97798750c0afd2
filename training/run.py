"""TrainingRun: the context of a training run, and what its stages come to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloud_service.embedding.base import Embedder, notes_of
from shared.fixed_texts import TEXTS, FixedTexts
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from training.backbone.fit import TrainedBackbone
from training.calibration.fit import FittedCalibration
from training.calibration.lessons import Material
from training.fusion.fit import FittedFusion
from training.generative.stage import checkpoint_of
from training.generative.trained import TrainedGenerator
from training.run_stages import RunStages
from training.semantic.anchors import Anchors
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.projector import FittedProjector
from training.semantic.recognition import recognise
from training.semantic.texts import refusal_note, refused_rows
from training.settings import Recipe
from training.splitting import split_note
from training.stages.backbone import with_later_items
from training.stages.folds import materials
from training.stages.stage import Stage
from training.stages.store import StageStore
from training.stages.texts import abstract_name, item_name
from training.student.bags import student_bags
from training.student.fit import FittedStudent
from training.trained import TrainedModel, validation_figures

T = TypeVar("T")


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

    Args and errors as for ``training.train.train``; the cache is closed at the end.
    """
    store = StageStore(settings.work_dir / "stages", force=force)
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        await recognise(embedder, cache)
        yield TrainingRun(settings, log, embedder, cache, store, progress)


class TrainingRun(RunStages):
    """One training run: its stages, and what each comes to."""

    def with_seed(self, seed: int) -> TrainingRun:
        """This run with another seed; stages that do not read the seed are shared."""
        if seed == self.settings.seed:
            return self
        settings = self.settings.model_copy(update={"seed": seed})
        return TrainingRun(settings, self.log, self.embedder, self.cache, self.store, self.progress)

    async def result(self, stage: Stage[T]) -> T:
        """Of a stage of this run; see ``StageStore.result``."""
        return await self.store.result(stage, self.progress)

    async def all(self) -> TrainedModel:
        """Every stage that a bundle needs."""
        backbone, abstracts = await self.backbone(), await self.text()
        projector = await self._projector(backbone)
        student = await self._student()
        fusion = await self.result(self.fusion)
        calibration = await self.result(self.calibrator)
        generates = self.settings.cloud.candidates_from == "generative"
        generator = await self.generative_model() if generates else None
        return TrainedModel(
            log=self.log,
            split=self.split,
            repeat_policy=self.policy,
            embedder=self.embedder.identity,
            backbone=backbone,
            projector=projector,
            student=student,
            fusion=fusion,
            calibration=calibration,
            popularity=self.popularity(),
            figures=validation_figures(backbone, projector, fusion, calibration),
            stage_seconds=dict(self.store.seconds),
            reused=tuple(self.store.reused),
            keys=dict(self.store.keys),
            notes=await self._notes(abstracts),
            generator=generator,
            fixed=await self._fixed_texts(),
        )

    async def _notes(self, abstracts: NDArray[np.float32]) -> tuple[str, ...]:
        """What people should know of the split and of the vectors."""
        aside = self.cache.set_aside
        notes = [split_note(self.log, self.settings.training)]
        if aside is not None:
            notes.append(f"a damaged embedding cache was moved to {aside}")
        if self.items in self.structure.upstream:
            items = await self.result(self.items)
            notes.append(refusal_note(items, "item texts", item_name(self.log.catalogue)))
        notes.append(refusal_note(abstracts, "abstracts", abstract_name(self.steps.anchors)))
        return (*(note for note in notes if note), *notes_of(self.embedder))

    async def _fixed_texts(self) -> FixedTexts:
        """What the model makes of fixed texts, as far as it takes them."""
        vectors = await self.embedding.vectors(TEXTS, "", NullProgress())
        usable = np.delete(np.arange(len(TEXTS)), refused_rows(vectors))
        return FixedTexts(tuple(TEXTS[place] for place in usable), vectors[usable])

    async def backbone(self) -> TrainedBackbone:
        """Over the whole catalogue, also where training knew a part of it only."""
        trained, items = await self.result(self.structure), self.steps.items
        if items is None:
            return trained
        text = None
        if self.items in self.structure.upstream:
            text = await self.result(self.items)
        learned = self.steps.events.keep_first(self.split.calibration_start)
        return with_later_items(
            trained,
            items,
            len(self.log.catalogue),
            np.bincount(learned.item, minlength=len(items)),
            text=text,
            seed=self.settings.seed,
        )

    async def _projector(self, backbone: TrainedBackbone) -> FittedProjector:
        """Over the whole catalogue: a later item's semantic vector is where training starts, or
        where rare items lean on texts what its text says."""
        fitted, items = await self.result(self.semantics), self.steps.items
        if items is None or fitted.vectors is None:
            return fitted
        vectors = backbone.table.vectors.detach().clone()
        if fitted.text_map is not None and fitted.text_map.pull:
            # Nobody has met them: their texts are all that there is to go by.
            text = torch.from_numpy(await self.result(self.items))
            vectors = fitted.text_map.of(text)
        vectors[torch.from_numpy(items)] = fitted.vectors
        return replace(fitted, vectors=vectors)

    async def on_known_items(self, trained: TrainedModel) -> TrainedModel:
        """``trained`` as the stages after the backbone see it: over the items of ``steps``."""
        items = self.steps.items
        if items is None:
            return trained
        return replace(
            trained,
            backbone=await self.result(self.structure),
            projector=await self.result(self.semantics),
            popularity=self.known_popularity(),
        )

    async def text(self) -> NDArray[np.float32]:
        """[A, m] embedding of every anchor's abstract."""
        return await self.result(self.abstracts)

    async def _student(self) -> FittedStudent | None:
        if self.student is None:
            return None
        fitted: FittedStudent = await self.result(self.student)
        return fitted

    async def said(self) -> NDArray[np.float32] | None:
        """[A, d] of the text student at every anchor; None without one."""
        words = self.words
        if words is None:
            return None
        return await self.result(words)

    def words_at(self, trained: TrainedModel, anchors: Anchors) -> Tensor | None:
        """[A, d] of the text student at any anchors of the log; None without one."""
        if trained.student is None:
            return None
        rows, profile = len(trained.student.weights.codes), self.settings.profile
        bags = student_bags(self.log, anchors, self.form, profile, rows=rows)
        return torch.from_numpy(trained.student.embed(bags))

    async def unmet(self, fusion: FittedFusion) -> list[Material]:
        """Training steps as models see them that have not met their users; none without folds."""
        results = [await self.result(one) for fold in self.folds for one in fold.upstream]
        return materials(
            self.folds,
            self.steps,
            iter(results),
            fusion,
            self.settings.profile,
            self.progress,
            self.settings.seed,
        )

    async def gate(self) -> FittedCalibration:
        """The opponent of calibration that only learns how far to trust the semantic channel."""
        return await self.result(self.opponent)

    async def generative_model(self) -> TrainedGenerator:
        """P5 or POD as ``settings.generative`` asks, trained on the run's training events.

        Raises:
            DataError: the log is too small to train on, or training diverged.
            EmbedderError, ConfigError: as from the run's other stages.
        """
        trained = await self.result(self.generator)
        checkpoint_of(self.generator, self.unfinished).remove()
        return trained

    async def embed(self, texts: Sequence[str], label: str) -> NDArray[np.float32]:
        async with self._embeds:  # or texts that two ask for are embedded twice
            return await self.embedding.vectors(texts, label, self.progress)
