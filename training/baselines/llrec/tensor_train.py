"""TensorTrain: item vectors that are made of three small cores when they are needed.

With item i = (i1, i2, i3) and vector place k = (k1, k2, k3), each in mixed radix,

    v[i, k] = G1[i1, k1, :] G2[:, i2, k2, :] G3[:, i3, k3]

(Oseledets, "Tensor-train decomposition", 2011; of embeddings, Khrulkov et al., arXiv 1901.10787).
LLRec (Wang et al., WWW 2020) compresses its embeddings so.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TensorTrain(nn.Module):
    """Vectors [I, d] of rank ``rank``, d the product of ``dims``.

    Args:
        n_items: I.
        dims: d1, d2, d3.

    Raises:
        ValueError: there are no items, or a dimension or the rank is below 1.
    """

    def __init__(self, n_items: int, dims: tuple[int, int, int], rank: int) -> None:
        super().__init__()
        if n_items < 1 or min(*dims, rank) < 1:
            raise ValueError(
                f"a tensor train needs items, dimensions and a rank, not {n_items}, {dims}, {rank}"
            )
        self.n_items, self.dims = n_items, dims
        self.sizes = factors(n_items)
        (i1, i2, i3), (d1, d2, d3) = self.sizes, dims
        # Products of three, rank^2 of them in a sum: vectors then have length 1, about.
        scale = (1.0 / (math.prod(dims) * rank**2)) ** (1 / 6)
        self.first = nn.Parameter(scale * torch.randn(i1, d1, rank))
        self.middle = nn.Parameter(scale * torch.randn(rank, i2, d2, rank))
        self.last = nn.Parameter(scale * torch.randn(rank, i3, d3))

    def forward(self, item: Tensor) -> Tensor:
        """[...] item indices -> [..., d] vectors, by two small products each."""
        _, i2, i3 = self.sizes
        flat = item.flatten()
        one, two, three = flat // (i2 * i3), flat // i3 % i2, flat % i3
        left = torch.einsum("nar,rnbs->nabs", self.first[one], self.middle[:, two])
        found = torch.einsum("nabs,snc->nabc", left, self.last[:, three])
        return found.reshape(*item.shape, -1)

    def table(self) -> Tensor:
        """[I, d] all vectors, cheaper than one by one."""
        left = torch.einsum("iar,rjbs->ijabs", self.first, self.middle)
        every = torch.einsum("ijabs,skc->ijkabc", left, self.last)
        return every.reshape(math.prod(self.sizes), -1)[: self.n_items]


def factors(n: int) -> tuple[int, int, int]:
    """Three numbers of about the same size whose product is at least ``n``, and little more."""
    first = round(n ** (1 / 3))
    while first**3 < n:
        first += 1
    second = math.isqrt(-(-n // first) - 1) + 1
    return first, second, -(-n // (first * second))
