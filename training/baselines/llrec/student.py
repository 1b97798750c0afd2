"""FastGRNN over a history, as LLRec's device model runs it.

Kusupati et al., arXiv 1901.02358: one pair of matrices W, U serves gate and update,

    z = sigmoid(W x + U h + b_z),  h~ = tanh(W x + U h + b_h),
    h = (zeta (1 - z) + nu) h~ + z h,

elementwise, with zeta and nu in (0, 1) and W, U of low rank.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.baselines.llrec.tensor_train import TensorTrain


class FastGRNN(nn.Module):
    """One step of the recurrence; d inputs and d units, matrices of rank r."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        spread = 1.0 / math.sqrt(dim)
        shapes = {
            "w_out": (rank, dim),
            "w_in": (dim, rank),
            "u_out": (rank, dim),
            "u_in": (dim, rank),
        }
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(spread * torch.randn(shape)))
        self.b_z, self.b_h = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        # As in the paper: zeta near 1 and nu near 0 at first.
        self.zeta, self.nu = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-4.0))

    w_in: Tensor
    w_out: Tensor
    u_in: Tensor
    u_out: Tensor

    def forward(self, mapped: Tensor, h: Tensor) -> Tensor:
        """W x [B, d] and the state [B, d] -> the next state [B, d]."""
        both = mapped + h @ self.u_in @ self.u_out
        z = torch.sigmoid(both + self.b_z)
        update = torch.tanh(both + self.b_h)
        found: Tensor = (self.zeta.sigmoid() * (1 - z) + self.nu.sigmoid()) * update + z * h
        return found

    def mapped(self, x: Tensor) -> Tensor:
        """[..., d] -> W x [..., d], of all events at once: it needs no state."""
        return x @ self.w_in @ self.w_out


class LLRecStudent(nn.Module):
    """History of items -> state; score(i) = <state, v_i> + b_i.

    Args:
        counts: [I] training events; b_i starts at their logarithm.
    """

    def __init__(
        self, counts: NDArray[np.integer], dims: tuple[int, int, int], *, rank: int, tt_rank: int
    ) -> None:
        super().__init__()
        self.items = TensorTrain(len(counts), dims, tt_rank)
        dim = math.prod(dims)
        self.cell = FastGRNN(dim, rank)
        self.out = nn.Linear(dim, dim)
        share = (counts + 1.0) / (counts + 1.0).mean()
        self.bias = nn.Parameter(torch.from_numpy(np.log(share)).float())

    def states(self, vectors: Tensor) -> Tensor:
        """[B, L, d] vectors, oldest first -> [B, L, d] the answer after every event."""
        mapped = self.cell.mapped(vectors)
        h, found = torch.zeros_like(mapped[:, 0]), []
        for place in range(mapped.shape[1]):
            h = self.cell(mapped[:, place], h)
            found.append(h)
        answer: Tensor = self.out(torch.stack(found, 1))
        return answer

    def scores(self, state: Tensor) -> Tensor:
        """[N, d] -> [N, I]."""
        return torch.addmm(self.bias, state, self.items.table().T)


class UnrolledStudent(nn.Module):
    """The graph that is exported: vectors of W events, those before the history left out.

    Args:
        window: W, the steps that are unrolled.
    """

    def __init__(self, student: LLRecStudent, window: int) -> None:
        super().__init__()
        self.cell, self.out, self.window = student.cell, student.out, window

    def forward(self, item_vectors: Tensor, known: Tensor) -> Tensor:
        """item_vectors [B, W, d], newest last, and known [B, W], 1 where there is one -> [B, d]."""
        mapped = self.cell.mapped(item_vectors)
        h = torch.zeros_like(mapped[:, 0])
        for place in range(self.window):
            there = known[:, place, None]
            h = there * self.cell(mapped[:, place], h) + (1 - there) * h
        state: Tensor = self.out(h)
        return state
