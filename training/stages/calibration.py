"""The stages that fit estimator and calibrator, and the opponent that is only a learned weight."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.bundle import AgeRule
from shared.profile import DeviceProfile
from shared.progress import Progress
from training.backbone.fit import TrainedBackbone
from training.background import in_thread
from training.calibration.age_rules import trusted
from training.calibration.fit import FittedCalibration, fit_calibration
from training.calibration.inputs import make_inputs
from training.calibration.judge import GapFigures
from training.calibration.lessons import Lessons, Material
from training.calibration.networks import N_CUES, Calibrator, Estimator
from training.calibration.options import CalibrationOptions
from training.calibration.pairs import (
    Pairs,
    block_pairs,
    pairs_at_gap,
    top_candidates,
    training_pairs,
)
from training.calibration.tried import TriedNetworks
from training.calibration_method import CalibrationMethod
from training.choosing import ahead
from training.fusion.fit import FittedFusion, kept_by
from training.pools import Ranked
from training.semantic.own_terms import OwnTerms
from training.semantic.projector import FittedProjector
from training.stages.folds import STALE_PARTNERS, FoldStages, materials
from training.stages.forms import Saved, load_arrays, named_weights, restore_weights, save_arrays
from training.stages.projector import Encode
from training.stages.stage import Stage
from training.steps import VALIDATION_GAPS, TrainingSteps
from training.user_folds import user_folds


def _save(fitted: FittedCalibration, folder: Path) -> None:
    networks = {"estimator": fitted.estimator, "calibrator": fitted.calibrator}
    values = {n: v for n, v in vars(fitted).items() if n not in (*networks, "tried")}
    if fitted.tried is not None:
        tried = fitted.tried
        networks |= {"tried_estimator": tried.estimator, "tried_calibrator": tried.calibrator}
        values["tried_radius"] = tried.radius
    values["inputs"] = fitted.calibrator.inputs
    for name in ("rules", "discount"):
        values[name] = [rule.model_dump() for rule in values[name]]
    values["gaps"] = {str(gap): asdict(figures) for gap, figures in fitted.gaps.items()}
    save_arrays(folder, named_weights(**networks), values)


def _load(folder: Path) -> FittedCalibration:
    arrays, values = load_arrays(folder)
    estimator = Estimator(
        hidden=len(arrays["estimator.mlp.0.bias"]),
        words=len(arrays["estimator.mean"]) > N_CUES,
    )
    hidden, size = arrays["calibrator.body.0.weight"].shape
    inputs = tuple(values.pop("inputs"))
    vectors = len(inputs) - ("cues" in inputs)
    calibrator = Calibrator(
        (size - N_CUES * ("cues" in inputs)) // vectors,
        inputs,
        gate="calibrator.gate.bias" in arrays,
        residual="calibrator.residual.bias" in arrays,
        hidden=hidden,
    )
    if (radius := values.pop("tried_radius", None)) is not None:
        values["tried"] = tried = TriedNetworks(
            copy.deepcopy(estimator), copy.deepcopy(calibrator), radius
        )
        restore_weights(arrays, tried_estimator=tried.estimator, tried_calibrator=tried.calibrator)
    restore_weights(arrays, estimator=estimator, calibrator=calibrator)
    values["gaps"] = {int(gap): GapFigures(**figures) for gap, figures in values["gaps"].items()}
    for name in ("rules", "discount"):
        values[name] = tuple(AgeRule(**rule) for rule in values[name])
    return FittedCalibration(estimator=estimator, calibrator=calibrator, **values)


CALIBRATION: Saved[FittedCalibration] = Saved(_save, _load)


def calibration_stage(
    steps: TrainingSteps,
    encode: Encode,
    options: CalibrationOptions,
    *,
    backbone: Stage[TrainedBackbone],
    projector: Stage[FittedProjector],
    abstracts: Stage[NDArray[np.float32]],
    fusion: Stage[FittedFusion],
    words: Stage[NDArray[np.float32]] | None,
    folds: tuple[FoldStages, ...] = (),
    profile: DeviceProfile,
    popularity: NDArray[np.float32],
    seed: int,
    threads: int,
    name: str = "calibration",
) -> Stage[FittedCalibration]:
    """Estimator, calibrator and age rules; another ``name`` for another choice of options.

    Args:
        words: [A, d] of the text student at every anchor; None without one.
        folds: models that have not met some users, whose steps they then score for the fit. Empty:
            it is of the calibration block.
        popularity: [I] training counts.
    """
    own_stages = (backbone, projector, abstracts, fusion, *(() if words is None else (words,)))

    async def build(
        progress: Progress,
        trained: TrainedBackbone,
        fitted: FittedProjector,
        text: NDArray[np.float32],
        weights: FittedFusion,
        *more: Any,
    ) -> FittedCalibration:
        said, of_folds = (None, more) if words is None else (more[0], more[1:])
        with torch.no_grad():
            e_sem = fitted.projector(torch.from_numpy(text))
        own = weights.terms(None if said is None else torch.from_numpy(said), kept_by(profile))

        def fit(stoppable: Progress) -> FittedCalibration:
            requests = encode(trained, stoppable).equipped(fitted.vectors, own)
            ranked = Ranked(
                setting="device",
                profile=profile,
                candidates=top_candidates(e_sem, requests.semantics, options.candidates),
                popularity=popularity,
                exclude_seen=options.exclude_seen,
            )
            training = [Material(requests, e_sem, fitting_pairs(steps, seed), steps.block())]
            if folds:
                training = materials(
                    folds, steps, iter(of_folds), weights, profile, stoppable, seed
                )
            return fit_calibration(
                requests,
                e_sem,
                training,
                {g: pairs_at_gap(steps.anchors, steps.validation, g) for g in VALIDATION_GAPS},
                weights.fusion_weight,
                options,
                ranked=ranked,
                seed=seed,
                threads=threads,
                progress=stoppable,
            )

        return await in_thread(fit, progress)

    return Stage(
        name=name,
        options=(options, profile, seed, threads),
        inputs={"steps": steps, "popularity": popularity},
        upstream=(*own_stages, *(stage for one in folds for stage in one.upstream)),
        code=(
            *(calibration_stage, fit_calibration, Calibrator, make_inputs),
            *(GapFigures, trusted, Pairs, Ranked, OwnTerms, CalibrationMethod, ahead),
            *(TriedNetworks, Lessons, CalibrationOptions),
            *((materials, user_folds) if folds else ()),
        ),
        build=build,
        form=CALIBRATION,
    )


def fitting_pairs(steps: TrainingSteps, seed: int) -> Pairs:
    """Of the calibration block, which no model was trained on; of training without a block."""
    block = steps.block()
    if block is None:
        return training_pairs(steps.anchors, steps.rows(steps.trained_on))
    rng = np.random.default_rng(seed)
    return block_pairs(steps.anchors, block, rng, partners=STALE_PARTNERS)
