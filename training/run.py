"""TrainingRun: the context of a training run, and the stages that it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloud_service.embedding.base import Embedder, notes_of
from shared.abstract_form import AbstractForm
from shared.errors import ConfigError
from shared.fixed_texts import TEXTS, FixedTexts
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from training.backbone.fit import TrainedBackbone
from training.calibration.fit import CalibrationOptions, FittedCalibration
from training.data.degenerate import refuse_degenerate
from training.fusion.fit import FittedFusion
from training.generative.stage import checkpoint_of, generator_stage
from training.generative.trained import TrainedGenerator
from training.options import (
    calibration_options,
    fusion_options,
    gate_options,
    projector_options,
    student_options,
)
from training.semantic.anchors import Anchors
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.projector import FittedProjector
from training.semantic.recognition import recognise
from training.semantic.requests import Requests, make_requests
from training.semantic.texts import refusal_note, refused_rows
from training.settings import Recipe
from training.splitting import known_items, log_at_split, policy_of, split_note, split_of
from training.stages.backbone import with_later_items
from training.stages.calibration import calibration_stage
from training.stages.embedding import TextEmbedding
from training.stages.fusion import fusion_stage
from training.stages.projector import projector_stage
from training.stages.stage import Stage
from training.stages.store import StageStore
from training.stages.structure import structure_stage
from training.stages.student import student_stage, words_stage
from training.stages.texts import abstract_name, abstracts_stage, item_name, items_stage
from training.steps import told_to_writers, training_steps
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


class TrainingRun:
    """One training run: what its stages share, and the stages as its settings choose them.

    Attributes:
        steps: what training reads of the log.
        unfinished: folder for training that goes on in another run.
    """

    def __init__(
        self,
        settings: Recipe,
        log: InteractionLog,
        embedder: Embedder,
        cache: EmbeddingCache,
        store: StageStore,
        progress: Progress,
    ) -> None:
        self.settings, self.embedder = settings, embedder
        self.cache, self.store, self.progress = cache, store, progress
        options = settings.training
        self.policy = policy_of(settings, log)
        self.split = split_of(log, options, calibration=True)
        refuse_degenerate(log, self.split)
        self.log = log_at_split(log, self.split, options)
        self.steps = training_steps(
            log,
            self.split,
            per_user=options.abstracts_per_user,
            items=known_items(log, self.split, options),
        )
        if settings.cloud.candidates_from == "generative":
            self._require_all_items("cloud.candidates_from=generative")
        self.embedding = TextEmbedding.of(settings.embedder, embedder, cache)
        self.unfinished = store.root / ".unfinished"
        self._requests: Requests | None = None

    @property
    def form(self) -> AbstractForm:
        return self.settings.abstract.form

    @cached_property
    def items(self) -> Stage[NDArray[np.float32]]:
        catalogue = self.log.catalogue
        return items_stage(catalogue.texts, self.embedding, item_name(catalogue))

    @cached_property
    def abstracts(self) -> Stage[NDArray[np.float32]]:
        return abstracts_stage(
            told_to_writers(self.log, self.split),
            self.steps.anchors,
            self.form,
            self.settings.profile,
            self.embedding,
        )

    @cached_property
    def structure(self) -> Stage[TrainedBackbone]:
        known = self.steps.items
        return structure_stage(
            self.settings,
            self.policy,
            self.steps,
            self.items,
            n_items=len(self.log.catalogue) if known is None else len(known),
            has_time=self.log.time is not None,
        )

    @cached_property
    def semantics(self) -> Stage[FittedProjector]:
        return projector_stage(
            self.steps,
            self.requests,
            projector_options(self.settings, self.policy),
            backbone=self.structure,
            abstracts=self.abstracts,
            student=self.student if self._student_gives_vectors else None,
            seed=self.settings.seed,
            threads=self.settings.training.threads,
        )

    @property
    def _student_gives_vectors(self) -> bool:
        options = self.settings.training
        return options.text_student and options.semantic_vectors == "own"

    @cached_property
    def student(self) -> Stage[FittedStudent] | None:
        if not self.settings.training.text_student:
            return None
        return student_stage(
            told_to_writers(self.log, self.split),
            self.steps,
            self.requests,
            student_options(self.settings, self.policy),
            self.form,
            self.settings.profile,
            backbone=self.structure,
            seed=self.settings.seed,
            threads=self.settings.training.threads,
        )

    @cached_property
    def words(self) -> Stage[NDArray[np.float32]] | None:
        """[A, d] of the student at every anchor."""
        if self.student is None:
            return None
        log = told_to_writers(self.log, self.split)
        return words_stage(log, self.steps, self.form, self.settings.profile, self.student)

    @cached_property
    def fusion(self) -> Stage[FittedFusion]:
        return fusion_stage(
            self.steps,
            self.requests,
            fusion_options(self.settings, self.policy),
            self.settings.profile,
            self._known_popularity(),
            candidates=self.settings.cloud.candidates,
            backbone=self.structure,
            projector=self.semantics,
            abstracts=self.abstracts,
            words=self.words,
        )

    @cached_property
    def calibrator(self) -> Stage[FittedCalibration]:
        return self._calibration(calibration_options(self.settings, self.policy), "calibration")

    @cached_property
    def opponent(self) -> Stage[FittedCalibration]:
        """A calibrator that only learns how far to trust the semantic channel."""
        return self._calibration(gate_options(self.settings, self.policy), "gate")

    @cached_property
    def generator(self) -> Stage[TrainedGenerator]:
        self._require_all_items("a generative cloud model")
        chosen = self.settings.generative
        return generator_stage(
            self.log.catalogue,
            self.steps,
            chosen,
            self.policy,
            items=self.items if chosen.tokens == "text" else None,
            seed=self.settings.seed,
            unfinished=self.unfinished,
        )

    def _calibration(self, options: CalibrationOptions, name: str) -> Stage[FittedCalibration]:
        return calibration_stage(
            self.steps,
            self.requests,
            options,
            backbone=self.structure,
            projector=self.semantics,
            abstracts=self.abstracts,
            fusion=self.fusion,
            words=self.words,
            profile=self.settings.profile,
            popularity=self._known_popularity(),
            seed=self.settings.seed,
            threads=self.settings.training.threads,
            name=name,
        )

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
        """Over the whole catalogue: a later item's semantic vector is where training starts."""
        fitted, items = await self.result(self.semantics), self.steps.items
        if items is None or fitted.vectors is None:
            return fitted
        vectors = backbone.table.vectors.detach().clone()
        vectors[torch.from_numpy(items)] = fitted.vectors
        return replace(fitted, vectors=vectors)

    def _known_popularity(self) -> NDArray[np.float32]:
        """[K] of the items that training knows."""
        items = self.steps.items
        return self.popularity() if items is None else self.popularity()[items]

    async def on_known_items(self, trained: TrainedModel) -> TrainedModel:
        """``trained`` as the stages after the backbone see it: over the items of ``steps``."""
        items = self.steps.items
        if items is None:
            return trained
        return replace(
            trained,
            backbone=await self.result(self.structure),
            projector=await self.result(self.semantics),
            popularity=self._known_popularity(),
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
        return await self.embedding.vectors(texts, label, self.progress)

    def requests(self, backbone: TrainedBackbone, progress: Progress) -> Requests:
        """Histories encoded once; only when a stage that needs them is not reused."""
        if self._requests is None:
            self._requests = make_requests(
                backbone.model,
                backbone.table,
                self.steps.events,
                self.steps.anchors,
                progress,
                self.steps.sessions,
            )
        return self._requests

    def popularity(self) -> NDArray[np.float32]:
        """[I] training events of each item of the catalogue."""
        known, items = self.steps.events.keep_first(self.split.validation_start), self.steps.items
        item = known.item if items is None else items[known.item]
        return np.bincount(item, minlength=len(self.log.catalogue)).astype(np.float32)

    def _require_all_items(self, part: str) -> None:
        if self.steps.items is not None:
            raise ConfigError(
                f"training.split=global leaves items to appear later, and {part} can only write "
                "tokens of items that it was trained with: set training.split=user, or "
                "cloud.candidates_from=semantic"
            )
