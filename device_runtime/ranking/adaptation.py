"""Adaptive re-training on the device, in numpy: a residual on e_str, fitted to the own events.

LSC4Rec (arXiv 2501.05647, eq. 7) re-trains the device's model on real-time data. Here everything
up to e_str stays as it was trained; what is learned is the last linear map before the softmax,

    score(i) = <e_str + R e_str, v_i> + b_i,    R [d, d], 0 at first,

by gradient descent on cross-entropy over the cached candidates and the targets. For transition n
with softmax p and target y the gradient by R is (sum_i p_i v_i - v_y) e_n^T: no autograd is needed,
and as every step adds such products, R = sum_n a_n e_n^T. Only the a_n are kept and moved: with a
few transitions that is far less than d * d numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """R = sum_n a_n e_n^T.

    Attributes:
        pulls: [N, d] the a_n.
        states: [N, d] e_str before each transition.
    """

    pulls: NDArray[np.float64]
    states: NDArray[np.float64]

    def moved(self, e_str: Floats) -> NDArray[np.float32]:
        """e_str + R e_str, for [d] or [M, d]."""
        state: NDArray[np.float32] = (e_str + (e_str @ self.states.T) @ self.pulls).astype(
            np.float32
        )
        return state


def loss_and_pull(
    asked: Floats, vectors: Floats, bias: Floats, target: NDArray[np.integer]
) -> tuple[float, NDArray[np.float64]]:
    """Mean cross-entropy in nats, and sum_i p_i v_i - v_y [N, d] of every transition.

    Args:
        asked: [N, d] states that score, residual included.
        vectors: [C, d] item vectors. bias: [C].
        target: [N] place within ``vectors`` of the item that followed.
    """
    logits = asked @ vectors.T + bias
    logits = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    total = weights.sum(axis=1, keepdims=True)
    own = logits[np.arange(len(asked)), target]
    loss = float((np.log(total[:, 0]) - own).mean())
    return loss, weights @ vectors / total - vectors[target]


def adapted(
    states: Floats,
    vectors: Floats,
    bias: Floats,
    target: NDArray[np.integer],
    *,
    rate: float,
    decay: float = 0.0,
    steps: int = 5,
) -> Residual:
    """The residual after ``steps`` of gradient descent from 0.

    Args:
        states: [N, d] e_str before each transition; others as in ``loss_and_pull``.
        rate: step size in units of 1 / mean |e_str|^2, so that it means the same for every model.
        decay: weight decay of the residual, per step and rate.

    Raises:
        ValueError: there is no transition, or a target is no candidate.
    """
    if len(states) == 0:
        raise ValueError("nothing to adapt to: no transition")
    if target.min() < 0 or target.max() >= len(vectors):
        raise ValueError("a transition's target is not among the candidates")
    own, among = states.astype(np.float64), vectors.astype(np.float64)
    alike = own @ own.T
    step = rate / max(float(np.trace(alike)), 1e-12)  # rate / (N mean |e|^2)
    pulls = np.zeros_like(own)
    for _ in range(steps):
        _, pull = loss_and_pull(own + alike @ pulls, among, bias, target)
        pulls -= step * pull + rate * decay * pulls
    return Residual(pulls, own)
