"""MetaPatch: a few numbers of a user's own bend a shared model's state, without autograd.

DCCL (Yao et al., KDD 2021, arXiv 2104.06624) puts patches into a frozen model, whose parameters
are made of a global basis and a small personal code z. Here the one patch is at the state,

    e' = e + U tanh(W e + b),   W = sum_k z_k W_k,   U = sum_k z_k U_k,

and at z = 0 nothing is patched. With y = tanh(W e + b) and the pull p = dL/de' of a transition
(for cross-entropy sum_i p_i v_i - v_target), the gradient by the code is

    dL/dz_k = <p, U_k y> + <(U' p) (1 - y^2), W_k e>,

so a device adapts by a few small products. Arrays are of M users with N transitions each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Basis:
    """K pairs of matrices of rank r, shared by all users.

    Attributes:
        down: [K, r, d] W_k. up: [K, d, r] U_k. shift: [r] b, which must not be 0: at z = 0 the
            code is moved through it alone.
    """

    down: Floats
    up: Floats
    shift: Floats

    @property
    def codes(self) -> int:
        return len(self.down)

    def moved(self, z: Floats, states: Floats) -> Floats:
        """e' [M, N, d] of e [M, N, d] under codes z [M, K]."""
        up = np.einsum("mk,kdr->mdr", z, self.up)
        found: Floats = states + self._active(z, states) @ up.transpose(0, 2, 1)
        return found

    def gradient(self, z: Floats, states: Floats, pulls: Floats) -> Floats:
        """[M, K] sum over transitions of dL/dz, for pulls dL/de' [M, N, d]."""
        y = self._active(z, states)
        up = np.einsum("mk,kdr->mdr", z, self.up)
        # [M, d, r] and [M, r, d]: the gradients by U and by W, which the code mixes.
        by_up = pulls.transpose(0, 2, 1) @ y
        by_down = ((pulls @ up) * (1 - y**2)).transpose(0, 2, 1) @ states
        found: Floats = np.einsum("mdr,kdr->mk", by_up, self.up)
        found += np.einsum("mrd,krd->mk", by_down, self.down)
        return found

    def _active(self, z: Floats, states: Floats) -> Floats:
        down = np.einsum("mk,krd->mrd", z, self.down)
        found: Floats = np.tanh(states @ down.transpose(0, 2, 1) + self.shift)
        return found


@dataclass(frozen=True, eq=False)
class PastTransitions:
    """What M devices adapt to.

    Attributes:
        states: [M, N, d] e before each transition.
        vectors: [M, C, d] of the items that compete. offsets: [M, N, C] added to <e', v>; -inf of
            an item that does not compete.
        target: [M, N] place among them of the item that followed.
        counted: [M, N] which transitions there are.
    """

    states: Floats
    vectors: Floats
    offsets: Floats
    target: NDArray[np.int64]
    counted: NDArray[np.bool_]


def adapted(basis: Basis, seen: PastTransitions, *, rate: float, steps: int) -> Floats:
    """[M, K] codes after ``steps`` of gradient descent from 0 on mean cross-entropy.

    Users without a transition keep 0.
    """
    count = np.maximum(seen.counted.sum(1), 1)[:, None]
    z = np.zeros((len(count), basis.codes))
    for _ in range(steps):
        _, pulls = loss_and_pulls(basis.moved(z, seen.states), seen)
        z = z - rate * basis.gradient(z, seen.states, pulls) / count
    return z


def loss_and_pulls(asked: Floats, seen: PastTransitions) -> tuple[Floats, Floats]:
    """Cross-entropy [M, N] in nats and its gradient by the state [M, N, d]; 0 where none counts.

    Args:
        asked: [M, N, d] states that score.
    """
    logits = asked @ seen.vectors.transpose(0, 2, 1) + seen.offsets
    top = logits.max(axis=2, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    share = weights / np.maximum(weights.sum(axis=2, keepdims=True), TINY)
    at = seen.target[:, :, None]
    own = np.take_along_axis(share, at, 2)
    counted = seen.counted & (own[:, :, 0] > 0)  # a target that is barred teaches nothing
    np.put_along_axis(share, at, own - 1.0, 2)
    loss: Floats = -np.log(np.where(counted, own[:, :, 0], 1.0))
    pulls: Floats = (share @ seen.vectors) * counted[:, :, None]
    return loss, pulls
