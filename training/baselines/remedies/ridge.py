"""A linear corrector of cached embeddings, in closed form.

Ridge regression from what a device knows, [e_sem(tau), e_str(t), e_str(tau), mean of the items met
since], to what a fresh call would have brought, e_sem(t). The learned relative is a corrector
network for stale dense embeddings (Monath et al., arXiv 2409.01890): if a calibrator is no better
than this, it need not be learned by descent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.calibration.inputs import Inputs

Floats = NDArray[np.float64]

INPUTS = ("e_sem", "e_str", "e_str_tau", "recent")  # as ``make_inputs`` is to be asked for them
PENALTIES = tuple(10.0**power for power in range(-5, 3))


@dataclass(frozen=True, eq=False)
class LinearCorrector:
    """y = offset + x W, fitted under one penalty.

    Attributes:
        weights: [F, d] float64 W. offset: [d] float64.
        penalty: lambda, per pair: the weight of |W|^2 beside a pair's mean squared error.
    """

    weights: Floats
    offset: Floats
    penalty: float

    def of(self, inputs: Inputs) -> Tensor:
        """[P, d] float32 what it takes e_sem(t) to be.

        Raises:
            ValueError: the inputs are not INPUTS.
        """
        found = design(inputs) @ self.weights + self.offset
        return torch.from_numpy(found.astype(np.float32))


def design(inputs: Inputs) -> Floats:
    """[P, F] float64, the parts side by side.

    Raises:
        ValueError: the inputs are not INPUTS.
    """
    if len(inputs.parts) != len(INPUTS):
        raise ValueError(
            f"a linear corrector reads {', '.join(INPUTS)}, not {len(inputs.parts)} parts: "
            "make the inputs with these names"
        )
    return np.concatenate([part.detach().double().numpy() for part in inputs.parts], axis=1)


def ridge_path(x: Floats, y: Floats, penalties: Sequence[float]) -> tuple[LinearCorrector, ...]:
    """argmin over W, offset of mean |y - offset - x W|^2 + lambda |W|^2, for every lambda.

    W = (X'X / P + lambda)^-1 X'Y / P of centred X and Y; the offset is not penalised. One
    decomposition of X'X serves all penalties.

    Args:
        x: [P, F] and y: [P, d], P pairs.
        penalties: each above 0.

    Raises:
        ValueError: there are no pairs, or a penalty is not above 0.
    """
    if len(x) == 0:
        raise ValueError("a linear corrector needs a pair to be fitted on")
    if not all(penalty > 0 for penalty in penalties):
        raise ValueError(f"penalties must be above 0, not {min(penalties)}")
    centre, level = x.mean(axis=0), y.mean(axis=0)
    inner, values = x - centre, y - level
    spread, axes = np.linalg.eigh(inner.T @ inner / len(x))
    towards = axes.T @ (inner.T @ values) / len(x)
    found = []
    for penalty in penalties:
        # Rounding may leave a spread of nothing slightly below 0.
        weights = axes @ (towards / (np.maximum(spread, 0.0) + penalty)[:, None])
        found.append(LinearCorrector(weights, level - centre @ weights, penalty))
    return tuple(found)


def fit_ridge(
    inputs: Inputs,
    fresh: Tensor,
    score: Callable[[LinearCorrector], float],
    penalties: Sequence[float] = PENALTIES,
) -> LinearCorrector:
    """The corrector with the highest score; of equal ones the most penalised.

    Args:
        inputs: of pairs whose targets no model was trained on (the calibration block).
        fresh: [P, d] e_sem(t) of the same pairs.
        score: on validation; the higher the better, NDCG@10 as a rule (see ``minus_error``).

    Raises:
        ValueError: there are no pairs, or the inputs are not INPUTS.
    """
    tried = ridge_path(
        design(inputs), fresh.detach().double().numpy(), sorted(penalties, reverse=True)
    )
    return max(tried, key=score)


def minus_error(corrector: LinearCorrector, inputs: Inputs, fresh: Tensor) -> float:
    """-mean |e_sem(t) - corrected|^2, a score where nothing can be ranked."""
    missed = fresh.detach().double() - corrector.of(inputs).double()
    return -float(missed.square().sum(dim=1).mean())
