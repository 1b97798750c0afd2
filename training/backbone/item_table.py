"""ItemParameters: the vectors and biases of all items, kept apart from the encoder."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class ItemParameters(nn.Module):
    """v_i [I, d] and b_i [I].

    Args:
        n_items: I.
        dim: d.
        init: [I, d] start vectors (reduced text embeddings); random when None.

    Raises:
        ValueError: ``init`` has another shape or values that are not finite.
    """

    def __init__(self, n_items: int, dim: int, init: NDArray[np.floating] | None = None) -> None:
        super().__init__()
        if init is None:
            vectors = torch.randn(n_items, dim) / dim**0.5
        else:
            if init.shape != (n_items, dim):
                raise ValueError(f"item vectors are {init.shape}, expected {(n_items, dim)}")
            if not np.isfinite(init).all():
                raise ValueError("item vectors hold NaN or infinite values")
            vectors = torch.tensor(init, dtype=torch.float32)
        self.vectors = nn.Parameter(vectors)
        self.bias = nn.Parameter(torch.zeros(n_items))

    def forward(self, item: Tensor) -> Tensor:
        """[...] item indices -> [..., d] vectors."""
        return nn.functional.embedding(item, self.vectors)
