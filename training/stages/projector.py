"""The stage that fits the cloud's projector on what the frozen backbone says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from device_runtime.state.cues import cue_vector
from device_runtime.state.item_sets import all_true
from shared.errors import ConfigError
from shared.progress import Progress
from training.backbone.fit import TrainedBackbone
from training.choosing import best_if_ahead
from training.cut_log import events_before
from training.semantic.held_out import HeldOut
from training.semantic.own_terms import OwnTerms
from training.semantic.projector import FittedProjector, Projector, ProjectorOptions, fit_projector
from training.semantic.rare_items import choose_pull, fit_text_map
from training.semantic.requests import Requests, make_requests
from training.semantic.text_map import TextMap
from training.stages.forms import Saved, load_arrays, named_weights, restore_weights, save_arrays
from training.stages.stage import Stage, threaded
from training.steps import TrainingSteps
from training.student.fit import FittedStudent

# Histories at every anchor, encoded once for all stages that need them.
Encode = Callable[[TrainedBackbone, Progress], Requests]
MAP = ("weight", "bias")
ENCODING = (make_requests, OwnTerms, cue_vector, all_true)  # the code of that


def _save(fitted: FittedProjector, folder: Path) -> None:
    apart = ("projector", "vectors", "text_map")
    values = {n: value for n, value in vars(fitted).items() if n not in apart}
    arrays = named_weights(projector=fitted.projector)
    if fitted.text_map is not None:
        arrays["map.weight"] = fitted.text_map.weight.numpy()
        arrays["map.bias"] = fitted.text_map.bias.numpy()
        values["pull"] = fitted.text_map.pull
    if fitted.vectors is not None:
        arrays["vectors"] = fitted.vectors.numpy()
    save_arrays(folder, arrays, values)


def _load(folder: Path) -> FittedProjector:
    arrays, values = load_arrays(folder)
    hidden, text_dim = arrays["projector.mlp.0.weight"].shape
    dim = len(arrays["projector.skip.bias"])
    projector = Projector(text_dim, dim, hidden)
    restore_weights(arrays, projector=projector)
    if (pull := values.pop("pull", None)) is not None:
        weight, bias = (torch.from_numpy(arrays[f"map.{name}"].copy()) for name in MAP)
        values["text_map"] = TextMap(weight, bias, pull)
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
        code=(
            *(projector_stage, fit_projector, TextMap, TrainingSteps, events_before, HeldOut),
            *ENCODING,
        ),
        build=threaded(fit),
        form=PROJECTOR,
    )


def rare_items_stage(
    steps: TrainingSteps,
    encode: Encode,
    counts: NDArray[np.float32],
    *,
    exclude_seen: bool,
    backbone: Stage[TrainedBackbone],
    projector: Stage[FittedProjector],
    abstracts: Stage[NDArray[np.float32]],
    items: Stage[NDArray[np.float32]],
) -> Stage[FittedProjector]:
    """The projector, with item vectors that lean on texts the more the rarer the item is.

    How much is chosen by what fresh semantics alone rank on the steps that no model was trained on.

    Args:
        counts: [K] training events of the items that ``steps`` knows.
        items: embeddings of all items' texts.
    """

    def fit(
        progress: Progress,
        trained: TrainedBackbone,
        fitted: FittedProjector,
        text: NDArray[np.float32],
        texts: NDArray[np.float32],
    ) -> FittedProjector:
        known = texts if steps.items is None else texts[steps.items]
        if fitted.vectors is None:
            raise ConfigError(
                "training.rare_items=text changes item vectors of the semantic channel alone: set "
                "training.semantic_vectors=own, or training.rare_items=learned"
            )
        requests = encode(trained, progress).equipped(fitted.vectors, None)
        rows = np.concatenate([steps.validation_rows(), *held_back(steps)])
        held = HeldOut(requests, np.sort(rows), exclude_seen=exclude_seen)
        with torch.no_grad():
            e_sem = fitted.projector(torch.from_numpy(text[held.rows]))

        def score(vectors: torch.Tensor) -> NDArray[np.float64]:
            held.vectors = vectors
            return held.ndcg10(e_sem, 1.0, own=False)

        of_items = torch.from_numpy(known), torch.from_numpy(counts)
        found = choose_pull(
            fit_text_map(known, fitted.vectors.numpy(), counts),
            fitted.vectors,
            *of_items,
            score,
            requests.anchors.user[held.rows],
        )
        pulled = found.pulled(fitted.vectors, *of_items)
        return replace(fitted, vectors=pulled, text_map=found)

    return Stage(
        name="rare-items",
        options=exclude_seen,
        inputs={"steps": steps, "counts": counts},
        upstream=(backbone, projector, abstracts, items),
        code=(rare_items_stage, fit_text_map, HeldOut, TrainingSteps, best_if_ahead, *ENCODING),
        build=threaded(fit),
        form=PROJECTOR,
    )


def held_back(steps: TrainingSteps) -> tuple[NDArray[np.int64], ...]:
    """Rows of the calibration block, if there is one."""
    block = steps.block()
    return () if block is None else (block,)
