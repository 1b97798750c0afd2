"""The stages of models that are each kept from a fold of users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.progress import Progress
from training.backbone.fit import TrainedBackbone
from training.backbone.objective import RepeatPolicy
from training.calibration.lessons import Material
from training.calibration.pairs import block_pairs
from training.fusion.fit import FittedFusion, kept_by
from training.options import projector_options, student_options
from training.semantic.projector import FittedProjector
from training.semantic.requests import Requests, make_requests
from training.settings import Recipe
from training.stages.forms import MATRIX
from training.stages.projector import projector_stage
from training.stages.stage import Stage, threaded
from training.stages.structure import structure_stage
from training.stages.student import student_stage, words_stage
from training.steps import TrainingSteps, told_to_writers
from training.user_folds import UserFold, user_folds

STALE_PARTNERS = 4  # older snapshots that a request is paired with to fit the calibrator
Texts = Stage[NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class FoldStages:
    """Models that have not met the users of a fold, and their texts.

    Attributes:
        words: [A, d] of the fold's student at its ``asked`` anchors; None without a student.
        texts: [A, m] of the abstracts there.
    """

    fold: UserFold
    structure: Stage[TrainedBackbone]
    semantics: Stage[FittedProjector]
    texts: Texts
    words: Texts | None

    @property
    def upstream(self) -> tuple[Stage[Any], ...]:
        found = (self.structure, self.semantics, self.texts)
        return found if self.words is None else (*found, self.words)


def fold_stages(
    settings: Recipe,
    policy: RepeatPolicy,
    log: InteractionLog,
    steps: TrainingSteps,
    *,
    items: Texts,
    abstracts: Texts,
    n_items: int,
) -> tuple[FoldStages, ...]:
    """For every fold a backbone, a student and a projector of the other users alone.

    They begin as the run's own models do and are trained alike, on fewer users; their vectors of
    rare items stay as learned. No text is embedded for them: their anchors are among those of
    ``steps``.

    Args:
        steps, items, abstracts, n_items: of the run itself.
    """
    return tuple(
        _fold(settings, policy, log, steps, fold, f"fold{number}", items, abstracts, n_items)
        for number, fold in enumerate(user_folds(steps))
    )


def _fold(
    settings: Recipe,
    policy: RepeatPolicy,
    log: InteractionLog,
    steps: TrainingSteps,
    fold: UserFold,
    name: str,
    items: Texts,
    abstracts: Texts,
    n_items: int,
) -> FoldStages:
    options, others = settings.training, fold.steps
    form, profile = settings.abstract.form, settings.profile
    requests: list[Requests] = []  # encoded once, if any stage has to be built

    def encode(backbone: TrainedBackbone, progress: Progress) -> Requests:
        if not requests:
            requests.append(
                make_requests(
                    backbone.model,
                    backbone.table,
                    others.events,
                    others.anchors,
                    progress,
                    others.sessions,
                )
            )
        return requests[0]

    structure = _named(
        name,
        structure_stage(
            settings, policy, others, items, n_items=n_items, has_time=log.time is not None
        ),
    )
    student = None
    if options.text_student:
        student = _named(
            name,
            student_stage(
                told_to_writers(log, others.split),
                others,
                encode,
                student_options(settings, policy),
                form,
                profile,
                backbone=structure,
                seed=settings.seed,
                threads=options.threads,
            ),
        )
    semantics = projector_stage(
        others,
        encode,
        projector_options(settings, policy),
        backbone=structure,
        abstracts=_named(name, _texts_stage(abstracts, steps.rows(others.anchors))),
        student=student if options.semantic_vectors == "own" else None,
        seed=settings.seed,
        threads=options.threads,
    )
    words = None
    if student is not None:
        writers = told_to_writers(log, steps.split)
        words = _named(f"{name}-asked", words_stage(writers, fold.asked, form, profile, student))
    return FoldStages(
        fold=fold,
        structure=structure,
        semantics=_named(name, semantics),
        texts=_named(f"{name}-asked", _texts_stage(abstracts, steps.rows(fold.asked))),
        words=words,
    )


def _named(prefix: str, stage: Stage[Any]) -> Stage[Any]:
    return replace(stage, name=f"{prefix}-{stage.name}")


def _texts_stage(abstracts: Texts, rows: NDArray[np.int64]) -> Texts:
    """Rows of the run's own texts."""
    return Stage(
        name="texts",
        inputs={"rows": rows},
        upstream=(abstracts,),
        code=(_texts_stage,),
        build=threaded(lambda _, text: text[rows]),
        form=MATRIX,
    )


def materials(
    folds: Sequence[FoldStages],
    steps: TrainingSteps,
    results: Iterator[Any],
    fusion: FittedFusion,
    profile: DeviceProfile,
    progress: Progress,
    seed: int,
) -> list[Material]:
    """What the models of every fold make of the users that they have not met.

    Args:
        steps: of the run itself, whose events are read.
        results: of every fold's ``upstream``, one fold after the other.
        fusion: of the run itself; its weights were chosen on validation steps.
    """
    rng, found = np.random.default_rng(seed), []
    for one in folds:
        backbone, fitted, text = (next(results) for _ in range(3))
        said = None if one.words is None else torch.from_numpy(next(results))
        asked = one.fold.asked
        requests = make_requests(
            backbone.model, backbone.table, steps.events, asked, progress, steps.sessions
        ).equipped(fitted.vectors, fusion.terms(said, kept_by(profile)))
        with torch.no_grad():
            e_sem = fitted.projector(torch.from_numpy(text))
        pairs = block_pairs(asked, np.arange(len(asked)), rng, partners=STALE_PARTNERS)
        found.append(Material(requests, e_sem, pairs))
    return found
