"""Adaptive re-training on the device, in numpy: a residual on e_str, fitted to the own events.

LSC4Rec (arXiv 2501.05647, eq. 7) re-trains the device's model on real-time data. Here everything
up to e_str stays as it was trained; what is learned is the last linear map before the softmax,

    score(i) = <e_str + R e_str, v_i> + b_i,    R [d, d], 0 at first,

by gradient descent on cross-entropy over the cached candidates and the targets. For one transition
with softmax p and target y the gradient is (sum_i p_i v_i - v_y) e_str^T: no autograd is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def loss_and_gradient(
    residual: Floats, states: Floats, vectors: Floats, bias: Floats, target: NDArray[np.integer]
) -> tuple[float, NDArray[np.float64]]:
    """Mean cross-entropy of transitions in nats, and its gradient [d, d] by the residual.

    Args:
        residual: [d, d] R.
        states: [N, d] e_str before each transition.
        vectors: [C, d] item vectors. bias: [C].
        target: [N] place within ``vectors`` of the item that followed.
    """
    asked = states + states @ residual.T
    logits = asked @ vectors.T + bias
    logits = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    total = weights.sum(axis=1, keepdims=True)
    rows = np.arange(len(states))
    loss = float((np.log(total[:, 0]) - logits[rows, target]).mean())
    pull = weights @ vectors / total - vectors[target]  # [N, d]
    return loss, pull.T @ states / len(states)


def adapted(
    states: Floats,
    vectors: Floats,
    bias: Floats,
    target: NDArray[np.integer],
    *,
    rate: float,
    decay: float = 0.0,
    steps: int = 5,
) -> NDArray[np.float64]:
    """The residual [d, d] after ``steps`` of gradient descent from 0; arguments as above.

    Args:
        rate: step size in units of 1 / mean |e_str|^2, so that it means the same for every model.
        decay: weight decay of the residual, per step and rate.

    Raises:
        ValueError: there is no transition, or a target is no candidate.
    """
    if len(states) == 0:
        raise ValueError("nothing to adapt to: no transition")
    if target.min() < 0 or target.max() >= len(vectors):
        raise ValueError("a transition's target is not among the candidates")
    states, vectors = states.astype(np.float64), vectors.astype(np.float64)
    residual = np.zeros((states.shape[1],) * 2)
    step = rate / max(float((states**2).sum(axis=1).mean()), 1e-12)
    for _ in range(steps):
        _, gradient = loss_and_gradient(residual, states, vectors, bias, target)
        residual -= step * gradient + rate * decay * residual
    return residual


def moved(residual: NDArray[np.float64], e_str: Floats) -> NDArray[np.float32]:
    """e_str + R e_str, [d] or [N, d]."""
    state: NDArray[np.float32] = (e_str + e_str @ residual.T).astype(np.float32)
    return state
