"""HyperNetwork: a history of items in, two layers of the device's model out."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from training.baselines.device_time import REPEATS


class HyperNetwork(nn.Module):
    """The cloud's side: item vectors of a history -> the device's two layers.

    Args:
        dim: d of item vectors and of e_str. rank: of the factors; None: full matrices.
    """

    def __init__(self, dim: int, rank: int | None, hidden: int = 64) -> None:
        super().__init__()
        self.dim, self.rank = dim, rank
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.code = nn.Linear(hidden, hidden)
        self.weights = nn.Linear(hidden, 2 * self.per_layer)
        nn.init.normal_(self.weights.weight, std=0.02)
        nn.init.normal_(self.weights.bias, std=0.1)
        with torch.no_grad():  # W_2 = 0 and b_2 = 0: training starts from the base as it is
            last = slice(self.per_layer, self.per_layer + self._first_factor)
            for zero in (last, slice(2 * self.per_layer - dim, 2 * self.per_layer)):
                self.weights.weight[zero] = 0.0
                self.weights.bias[zero] = 0.0

    @property
    def _first_factor(self) -> int:
        return self.dim * (self.dim if self.rank is None else self.rank)

    @property
    def per_layer(self) -> int:
        """Numbers of one generated layer, its bias of d at the end."""
        factors = 1 if self.rank is None else 2
        return factors * self._first_factor + self.dim

    def states(self, vectors: Tensor) -> Tensor:
        """z [B, L, hidden] after each event of histories [B, L, d]."""
        found: Tensor = self.gru(vectors)[0]
        return found

    def generated(self, states: Tensor) -> Tensor:
        """[N, 2 * per_layer] the numbers of a snapshot, of states [N, hidden]."""
        found: Tensor = self.weights(torch.tanh(self.code(states)))
        return found

    def applied(self, numbers: Tensor, e_str: Tensor) -> Tensor:
        """e' [N, d]: the device's side."""
        first, second = numbers[:, : self.per_layer], numbers[:, self.per_layer :]
        return e_str + self._layer(second, torch.tanh(self._layer(first, e_str)))

    @torch.no_grad()
    def layers_us(self) -> float:
        """Microseconds of ``applied`` for one request on a device; the median of many."""
        numbers, e_str = torch.zeros(1, 2 * self.per_layer), torch.zeros(1, self.dim)
        spent = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            self.applied(numbers, e_str)
            spent.append(time.perf_counter() - started)
        return 1e6 * float(np.median(spent))

    def _layer(self, numbers: Tensor, x: Tensor) -> Tensor:
        """W x + b with W = U V', or W itself."""
        bias, size = numbers[:, -self.dim :], self._first_factor
        if self.rank is None:
            square = numbers[:, :size].reshape(-1, self.dim, self.dim)
            return torch.einsum("nij,nj->ni", square, x) + bias
        u = numbers[:, :size].reshape(-1, self.dim, self.rank)
        v = numbers[:, size : 2 * size].reshape(-1, self.dim, self.rank)
        return torch.einsum("nir,njr,nj->ni", u, v, x) + bias
