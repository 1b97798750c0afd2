"""CausalPairs: the (query, event) pairs that are not in the future, packed in one row.

A causal model over L events uses L (L + 1) / 2 of its L x L pairs. Per-pair work is done on these
alone; `unpack` lays the results out as the square that attention adds to its logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FUTURE = -1e9  # a logit whose share is exactly 0 after a softmax, and finite


class CausalPairs:
    """Places of the P = L (L + 1) / 2 pairs of L events, row by row.

    Attributes:
        distance: [P] how many events the pair's event lies before its query.
    """

    def __init__(self, length: int) -> None:
        query, event = torch.tril_indices(length, length).unbind()
        self._query, self._event, self._length = query, event, length
        self._square = query * length + event  # [P] place in the flat square
        packed = torch.zeros(length * length, dtype=torch.int64)
        packed[self._square] = torch.arange(len(query))
        self._packed = packed  # [L * L] place in the packed row; 0 where there is none
        self._future = torch.ones(length, length, dtype=torch.bool).triu(1)
        self.distance = query - event

    def pack(
        self, event_a: Tensor, event_b: Tensor, query_a: Tensor, query_b: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two values of each pair's event and two of its query, [B, L] each -> [B, P] each."""
        events = (event_a.index_select(1, self._event), event_b.index_select(1, self._event))
        return *events, query_a.index_select(1, self._query), query_b.index_select(1, self._query)

    def unpack(self, packed: Tensor, of_all: Tensor) -> Tensor:
        """Lay out terms of single pairs, with terms that all rows of a batch share.

        Args:
            packed: [C, B, P]. of_all: [C, P], added to each of the batch.

        Returns:
            [C, B, L, L], about FUTURE where the event lies after the query.
        """
        square: Tensor = _Unpack.apply(packed, of_all, self._packed, self._square, self._future)  # type: ignore[no-untyped-call]
        return square


class _Unpack(torch.autograd.Function):
    """A gather both ways: the derivative of an index_select would be a slow scatter."""

    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, of_all: Tensor, places: Tensor, square: Tensor, future: Tensor
    ) -> Tensor:
        ctx.save_for_backward(square)
        shared = of_all.index_select(-1, places).masked_fill_(future.flatten(), FUTURE)
        # In the future a term of some other pair is added, which FUTURE swallows.
        out = packed.index_select(-1, places).add_(shared[:, None])
        return out.view(*packed.shape[:-1], *future.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (square,) = ctx.saved_tensors
        packed = grads[0].flatten(-2).index_select(-1, square)
        return packed, packed.sum(1), None, None, None
