"""The stage that fits the cloud's projector on what the frozen backbone says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from device_runtime.state.cues import cue_vector
from shared.progress import Progress
from training.backbone.fit import TrainedBackbone
from training.cut_log import events_before
from training.semantic.held_out import HeldOut
from training.semantic.own_terms import OwnTerms
from training.semantic.projector import FittedProjector, Projector, ProjectorOptions, fit_projector
from training.semantic.requests import Requests, make_requests
from training.stages.forms import Saved, load_arrays, named_weights, restore_weights, save_arrays
from training.stages.stage import Stage, threaded
from training.steps import TrainingSteps
from training.student.fit import FittedStudent

# Histories at every anchor, encoded once for all stages that need them.
Encode = Callable[[TrainedBackbone, Progress], Requests]
ENCODING = (make_requests, OwnTerms, cue_vector)  # the code of that


def _save(fitted: FittedProjector, folder: Path) -> None:
    values = {n: value for n, value in vars(fitted).items() if n not in ("projector", "vectors")}
    arrays = named_weights(projector=fitted.projector)
    if fitted.vectors is not None:
        arrays["vectors"] = fitted.vectors.numpy()
    save_arrays(folder, arrays, values)


def _load(folder: Path) -> FittedProjector:
    arrays, values = load_arrays(folder)
    hidden, text_dim = arrays["projector.mlp.0.weight"].shape
    dim = len(arrays["projector.skip.bias"])
    projector = Projector(text_dim, dim, hidden)
    restore_weights(arrays, projector=projector)
    own = arrays.get("vectors")
    vectors = None if own is None else torch.from_numpy(own.copy())
    return FittedProjector(projector=projector, vectors=vectors, **values)


PROJECTOR: Saved[FittedProjector] = Saved(_save, _load)


def projector_stage(
    steps: TrainingSteps,
    encode: Encode,
    options: ProjectorOptions,
    *,
    backbone: Stage[TrainedBackbone],
    abstracts: Stage[NDArray[np.float32]],
    student: Stage[FittedStudent] | None,
    seed: int,
    threads: int,
) -> Stage[FittedProjector]:
    """The map from abstracts' embeddings to the space of the items' semantic vectors.

    Args:
        student: whose item vectors are taken as they are; None: those of structure, or as
            ``options`` say vectors trained with the projector.
    """

    def fit(
        progress: Progress,
        trained: TrainedBackbone,
        text: NDArray[np.float32],
        reader: FittedStudent | None = None,
    ) -> FittedProjector:
        vectors = None if reader is None else torch.from_numpy(reader.vectors)
        fitted = fit_projector(
            encode(trained, progress).equipped(vectors, None),
            text,
            steps.rows(steps.trained_on),
            steps.validation_rows(),
            options,
            stop=steps.split.calibration_start,
            seed=seed,
            threads=threads,
            progress=progress,
        )
        return fitted if vectors is None else replace(fitted, vectors=vectors)

    return Stage(
        name="projector",
        options=(options, seed, threads),
        inputs={"steps": steps},
        upstream=(backbone, abstracts, *(() if student is None else (student,))),
        code=(projector_stage, fit_projector, TrainingSteps, events_before, HeldOut, *ENCODING),
        build=threaded(fit),
        form=PROJECTOR,
    )
