"""Forms in which stages keep their results: arrays, a matrix, weights, a pydantic model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from shared.errors import DataError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Saved(Generic[T]):
    """How a stage's result becomes files in a folder, and back."""

    save: Callable[[T, Path], None]
    load: Callable[[Path], T]


def save_arrays(
    folder: Path, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any] | None = None
) -> None:
    """Write arrays (safetensors) and plain values (JSON) into a stage's folder."""
    data = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    (folder / "arrays.safetensors").write_bytes(safetensors.numpy.save(data))
    (folder / "values.json").write_text(json.dumps(values or {}, indent=1) + "\n")


def load_arrays(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what ``save_arrays`` wrote; raises DataError when it is damaged."""
    path = folder / "arrays.safetensors"
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        values = json.loads((folder / "values.json").read_text())
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"not a stage's arrays: {error}", path) from error
    return arrays, values


def _load_matrix(folder: Path) -> NDArray[np.float32]:
    arrays, _ = load_arrays(folder)
    matrix: NDArray[np.float32] = arrays["matrix"]
    return matrix


MATRIX: Saved[NDArray[np.float32]] = Saved(
    save=lambda matrix, folder: save_arrays(folder, {"matrix": matrix}), load=_load_matrix
)


def named_weights(**modules: torch.nn.Module) -> dict[str, NDArray[Any]]:
    """Every module's weights as arrays, by "module.weight"."""
    states: dict[str, dict[str, Tensor]] = {n: m.state_dict() for n, m in modules.items()}
    return {f"{n}.{name}": t.numpy() for n, state in states.items() for name, t in state.items()}


def restore_weights(arrays: Mapping[str, NDArray[Any]], **modules: torch.nn.Module) -> None:
    """Load what ``named_weights`` made, in eval mode; raises DataError where it does not fit."""
    for name, module in modules.items():
        start = f"{name}."
        state = {
            k.removeprefix(start): torch.tensor(v) for k, v in arrays.items() if k.startswith(start)
        }
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise DataError(f"weights of the {name} do not fit: {error}") from error
        module.eval()


def model_form(kind: type[M], file: str, words: str) -> Saved[M]:
    """Kept as ``file``; loading raises DataError naming it where it is not ``words``."""

    def save(found: M, folder: Path) -> None:
        (folder / file).write_text(found.model_dump_json(indent=1) + "\n")

    def load(folder: Path) -> M:
        path = folder / file
        try:
            return kind.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataError(f"not {words}: {error}", path) from error

    return Saved(save, load)
