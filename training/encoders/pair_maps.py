"""The maps of all pair features in one pass, a cache-sized piece of the pairs at a time.

Hidden units of the copy head are by far the largest thing a training step would keep, and moving
them through memory costs more than computing them: they are computed again on the way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

PAIRS_IN_CACHE = 8192


def pair_maps(
    features: Tensor, linear: Tensor, hidden: Tensor, bias: Tensor, out: Tensor
) -> Tensor:
    """Linear terms and one term of a hidden layer, per pair.

    Args:
        features: [F, n], which get no gradient.
        linear: [H, F]. hidden: [h, F]. bias: [h]. out: [h].

    Returns:
        [H + 1, n]: linear @ features, then out @ gelu(hidden @ features + bias).
    """
    terms: Tensor = _PairMaps.apply(features, linear, hidden, bias, out)  # type: ignore[no-untyped-call]
    return terms


class _PairMaps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, linear: Tensor, hidden: Tensor, bias: Tensor, out: Tensor
    ) -> Tensor:
        ctx.save_for_backward(features, linear, hidden, bias, out)
        weight, heads = torch.cat([linear, hidden]), len(linear)
        terms = features.new_empty(heads + 1, features.shape[1])
        for piece in _pieces(features.shape[1]):
            maps = weight @ features[:, piece]
            terms[:heads, piece] = maps[:heads]
            terms[heads, piece] = out @ gelu(maps[heads:].add_(bias[:, None]))
        return terms

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, Tensor, Tensor]:
        features, linear, hidden, bias, out = ctx.saved_tensors
        heads = len(linear)
        grad_weight = torch.zeros(heads + len(hidden), len(features))
        grad_bias, grad_out = torch.zeros_like(bias), torch.zeros_like(out)
        for piece in _pieces(features.shape[1]):
            inputs, grad = features[:, piece], grads[0][:, piece]
            before = torch.addmm(bias[:, None], hidden, inputs)
            grad_out += gelu(before) @ grad[heads]
            back = torch.ops.aten.gelu_backward(torch.outer(out, grad[heads]), before)
            grad_bias += back.sum(1)
            grad_weight += torch.cat([grad[:heads], back]) @ inputs.T
        return None, grad_weight[:heads], grad_weight[heads:], grad_bias, grad_out


def _pieces(size: int) -> Iterator[slice]:
    return (slice(first, first + PAIRS_IN_CACHE) for first in range(0, size, PAIRS_IN_CACHE))
