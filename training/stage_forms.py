"""How each training stage's result is kept on disk."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import DataError
from training.age_rules import AgeRule
from training.backbone import TrainedBackbone
from training.calibration import N_CUES, Calibrator, Estimator
from training.calibration_fit import FittedCalibration
from training.calibration_judge import GapFigures
from training.checkpoint import load_backbone, save_backbone
from training.projector import FittedProjector, Projector
from training.stages import Saved, load_arrays, save_arrays

_BACKBONE_FILE = "backbone.safetensors"


def _load_matrix(folder: Path) -> NDArray[np.float32]:
    arrays, _ = load_arrays(folder)
    matrix: NDArray[np.float32] = arrays["matrix"]
    return matrix


MATRIX: Saved[NDArray[np.float32]] = Saved(
    save=lambda matrix, folder: save_arrays(folder, {"matrix": matrix}), load=_load_matrix
)

BACKBONE: Saved[TrainedBackbone] = Saved(
    save=lambda trained, folder: save_backbone(trained, folder / _BACKBONE_FILE),
    load=lambda folder: load_backbone(folder / _BACKBONE_FILE),
)


def _save_projector(fitted: FittedProjector, folder: Path) -> None:
    values = {name: value for name, value in vars(fitted).items() if name != "projector"}
    save_arrays(folder, _named("projector", fitted.projector), values)


def _load_projector(folder: Path) -> FittedProjector:
    arrays, values = load_arrays(folder)
    hidden, text_dim = arrays["projector.mlp.0.weight"].shape
    dim = len(arrays["projector.skip.bias"])
    projector = Projector(text_dim, dim, hidden)
    _restore(projector, "projector", arrays)
    return FittedProjector(projector=projector, **values)


PROJECTOR: Saved[FittedProjector] = Saved(_save_projector, _load_projector)


def _save_calibration(fitted: FittedCalibration, folder: Path) -> None:
    arrays = _named("estimator", fitted.estimator) | _named("calibrator", fitted.calibrator)
    networks = ("estimator", "calibrator")
    values = {name: value for name, value in vars(fitted).items() if name not in networks}
    values["inputs"] = fitted.calibrator.inputs
    for name in ("rules", "discount"):
        values[name] = [asdict(rule) for rule in values[name]]
    values["gaps"] = {str(gap): asdict(figures) for gap, figures in fitted.gaps.items()}
    save_arrays(folder, arrays, values)


def _load_calibration(folder: Path) -> FittedCalibration:
    arrays, values = load_arrays(folder)
    estimator = Estimator(hidden=len(arrays["estimator.mlp.0.bias"]))
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
    _restore(estimator, "estimator", arrays)
    _restore(calibrator, "calibrator", arrays)
    values["gaps"] = {int(gap): GapFigures(**figures) for gap, figures in values["gaps"].items()}
    for name in ("rules", "discount"):
        values[name] = tuple(AgeRule(**rule) for rule in values[name])
    return FittedCalibration(estimator=estimator, calibrator=calibrator, **values)


CALIBRATION: Saved[FittedCalibration] = Saved(_save_calibration, _load_calibration)


def _named(prefix: str, module: torch.nn.Module) -> dict[str, NDArray[Any]]:
    state: dict[str, Tensor] = module.state_dict()
    return {f"{prefix}.{name}": tensor.numpy() for name, tensor in state.items()}


def _restore(module: torch.nn.Module, prefix: str, arrays: dict[str, NDArray[Any]]) -> None:
    start = f"{prefix}."
    state = {
        k.removeprefix(start): torch.tensor(v) for k, v in arrays.items() if k.startswith(start)
    }
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"weights of the {prefix} do not fit: {error}") from error
    module.eval()
