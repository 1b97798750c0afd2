"""RunStages: the stages that a training run is made of."""

from __future__ import annotations

import asyncio
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from shared.abstract_form import AbstractForm
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.backbone.fit import TrainedBackbone
from training.calibration.fit import FittedCalibration
from training.calibration.options import CalibrationOptions
from training.data.degenerate import refuse_degenerate
from training.fusion.fit import FittedFusion
from training.generative.stage import generator_stage
from training.generative.trained import TrainedGenerator
from training.options import (
    calibration_options,
    fusion_options,
    gate_options,
    projector_options,
    student_options,
)
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.projector import FittedProjector
from training.semantic.requests import Requests, make_requests
from training.settings import Recipe
from training.splitting import known_items, log_at_split, policy_of, split_of
from training.stages.calibration import calibration_stage
from training.stages.embedding import TextEmbedding
from training.stages.folds import FoldStages, fold_stages
from training.stages.fusion import fusion_stage
from training.stages.projector import projector_stage, rare_items_stage
from training.stages.stage import Stage
from training.stages.store import StageStore
from training.stages.structure import structure_stage
from training.stages.student import student_stage, words_stage
from training.stages.texts import abstracts_stage, item_name, items_stage
from training.steps import told_to_writers, training_steps
from training.student.fit import FittedStudent


class RunStages:
    """What the stages of a training run share, and the stages as its settings choose them.

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
            self.require_all_items("cloud.candidates_from=generative")
        self.embedding = TextEmbedding.of(settings.embedder, embedder, cache)
        self.unfinished = store.root / ".unfinished"
        self._requests: Requests | None = None
        self._embeds = asyncio.Lock()

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
        return structure_stage(
            self.settings,
            self.policy,
            self.steps,
            self.items,
            n_items=self._n_items,
            has_time=self.log.time is not None,
        )

    @property
    def _n_items(self) -> int:
        """That training knows."""
        known = self.steps.items
        return len(self.log.catalogue) if known is None else len(known)

    @cached_property
    def semantics(self) -> Stage[FittedProjector]:
        if self.settings.training.rare_items == "learned":
            return self.projected
        return rare_items_stage(
            self.steps,
            self.requests,
            self.known_popularity(),
            exclude_seen=self.policy == "exclude",
            backbone=self.structure,
            projector=self.projected,
            abstracts=self.abstracts,
            items=self.items,
        )

    @cached_property
    def projected(self) -> Stage[FittedProjector]:
        """Before anything is done for rare items."""
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
        profile = self.settings.profile
        return words_stage(log, self.steps.anchors, self.form, profile, self.student)

    @cached_property
    def folds(self) -> tuple[FoldStages, ...]:
        """Models that have not met some users; none where a block of steps is kept instead."""
        if self.settings.training.calibration_block == "steps":
            return ()
        return fold_stages(
            self.settings,
            self.policy,
            self.log,
            self.steps,
            items=self.items,
            abstracts=self.abstracts,
            n_items=self._n_items,
        )

    @cached_property
    def fusion(self) -> Stage[FittedFusion]:
        return fusion_stage(
            self.steps,
            self.requests,
            fusion_options(self.settings, self.policy),
            self.settings.profile,
            self.known_popularity(),
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
        self.require_all_items("a generative cloud model")
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
            folds=self.folds,
            profile=self.settings.profile,
            popularity=self.known_popularity(),
            seed=self.settings.seed,
            threads=self.settings.training.threads,
            name=name,
        )

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

    def require_all_items(self, part: str) -> None:
        if self.steps.items is not None:
            raise ConfigError(
                f"training.split=global leaves items to appear later, and {part} can only write "
                "tokens of items that it was trained with: set training.split=user, or "
                "cloud.candidates_from=semantic"
            )

    def known_popularity(self) -> NDArray[np.float32]:
        """[K] of the items that training knows."""
        items = self.steps.items
        return self.popularity() if items is None else self.popularity()[items]
