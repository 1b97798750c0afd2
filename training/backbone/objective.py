"""Log likelihood of the next item under the structural score, without a dense copy term.

With z_i = <e, v_i> + b_i and copy logits c_j, exp(score_i) = exp(z_i) + sum over {j : x_j = i} of
exp(z_i + c_j). The normaliser over all items is therefore a log-sum-exp over the I values z_i and
the L values z_{x_j} + c_j: no scatter into an [N, I] matrix is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from training.backbone.batches import Windows
from training.backbone.item_table import ItemParameters
from training.encoders.base import Encoder
from training.encoders.return_mechanism import NO_COPY

RepeatPolicy = Literal["allow", "exclude"]
# Loss [N] of every target of some windows.
Objective = Callable[[Encoder, ItemParameters, Windows], Tensor]
SUMS_IN_CACHE = 1 << 18  # float32 numbers that are exponentiated and summed at a time


def next_item_log_likelihood(
    model: Encoder,
    table: ItemParameters,
    windows: Windows,
    repeat_policy: RepeatPolicy = "allow",
    negatives: Tensor | None = None,
) -> Tensor:
    """log p(next item) [N] at every wanted place of the windows.

    With ``exclude``, items of the row's own past do not compete and places whose next item is one
    of them are left out.
    """
    vectors = table(windows.item)
    is_target = windows.item[:, None, :] == windows.next_item[:, :, None]
    L = windows.item.shape[1]
    past = torch.ones(L, L, dtype=torch.bool).tril()
    is_target = is_target & past
    wanted = windows.wanted
    excluded = None
    if repeat_policy == "exclude":
        wanted = wanted & ~is_target.any(-1)
        # Places after the query name the row's first item instead, which is always in the past.
        excluded = torch.where(past, windows.item[:, None, :], windows.item[:, :1, None])[wanted]
    at = wanted.flatten().nonzero()[:, 0]
    e_str, copy_logit = model.encode(
        vectors, windows.age_h, windows.hour, windows.request_hour, asked=at
    )
    state, goal = _rows(e_str, at), _rows(windows.next_item, at)
    base_target = (state * table(goal)).sum(-1) + table.bias[goal]
    if negatives is None:
        log_z = linear_logsumexp(state, table.vectors, table.bias, excluded)
    else:
        log_z = sampled_logsumexp(
            state, table.vectors, table.bias, goal, base_target, negatives, excluded
        )
    if repeat_policy == "exclude" or model.copy is None:
        log_p: Tensor = base_target - log_z
        return log_p
    base_history = torch.baddbmm(
        table.bias[windows.item][:, None, :], e_str, vectors.transpose(1, 2)
    )
    return structural_log_likelihood(
        log_z, _rows(base_history, at), _rows(copy_logit, at), base_target, _rows(is_target, at)
    )


def structural_log_likelihood(
    log_z_base: Tensor,
    base_history: Tensor,
    copy_logit: Tensor,
    base_target: Tensor,
    is_target: Tensor,
) -> Tensor:
    """log p(target) for N requests.

    Args:
        log_z_base: [N] log-sum-exp of z over the items that compete.
        base_history: [N, L] z of the item of each history event.
        copy_logit: [N, L], NO_COPY where there is no event.
        base_target: [N] z of the target.
        is_target: [N, L] whether a history event is the target.
    """
    copied = base_history + copy_logit
    log_z = torch.logaddexp(log_z_base, copied.logsumexp(-1))
    # A finite floor: log-sum-exp over nothing but -inf has no gradient (NaN).
    returned = copy_logit.masked_fill(~is_target, NO_COPY).logsumexp(-1)
    return base_target + torch.logaddexp(torch.zeros_like(returned), returned) - log_z


def linear_logsumexp(
    state: Tensor, vectors: Tensor, bias: Tensor, exclude: Tensor | None = None
) -> Tensor:
    """log sum_i exp(<state_n, v_i> + b_i) [N] over all items but those ``exclude`` [N, E] names.

    The [N, I] softmax is formed once, in the forward pass, and kept in bfloat16 (half the memory
    and, with matrix units, a quarter of the time); sums are float32.
    """
    out: Tensor = _LinearLogSumExp.apply(state, vectors, bias, exclude)  # type: ignore[no-untyped-call]
    return out


def sampled_logsumexp(
    state: Tensor,
    vectors: Tensor,
    bias: Tensor,
    target: Tensor,
    base_target: Tensor,
    sample: Tensor,
    exclude: Tensor | None = None,
) -> Tensor:
    """Unbiased estimate of the sum behind `linear_logsumexp` from uniform negatives.

    Args:
        state: [N, d]. vectors: [I, d]. bias: [I]. target, base_target: [N].
        sample: [S] item indices drawn uniformly with replacement, shared by the batch.
        exclude: [N, E] items that do not compete.
    """
    z = state @ vectors[sample].T + bias[sample]  # [N, S]
    out = sample[None, :] == target[:, None]
    if exclude is not None:
        out = out | (sample[None, :, None] == exclude[:, None, :]).any(-1)
    z = z.masked_fill(out, -math.inf)
    scale = math.log(len(vectors) / len(sample))
    return torch.logaddexp(base_target, z.logsumexp(-1) + scale)


def _rows(places: Tensor, at: Tensor) -> Tensor:
    """[R, W, ...] at the flat places ``at`` [N] -> [N, ...]."""
    return places.flatten(0, 1).index_select(0, at)


class _LinearLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, state: Tensor, vectors: Tensor, bias: Tensor, exclude: Tensor | None
    ) -> Tensor:
        state_low, vectors_low = state.to(torch.bfloat16), vectors.to(torch.bfloat16)
        weights = torch.addmm(bias.to(torch.bfloat16), state_low, vectors_low.T)
        total, top = torch.empty(len(state)), torch.empty(len(state), 1)
        # A few rows at a time, so that the float32 sums are taken within the processor's cache.
        size = max(1, SUMS_IN_CACHE // len(vectors))
        block = torch.empty(min(size, len(state)), len(vectors))
        for first in range(0, len(state), size):
            rows = slice(first, first + size)
            low = weights[rows]
            z = block[: len(low)].copy_(low)
            if exclude is not None:
                z.scatter_(1, exclude[rows], -math.inf)
            torch.amax(z, 1, keepdim=True, out=top[rows])
            z.sub_(top[rows]).exp_()
            torch.sum(z, 1, out=total[rows])
            low.copy_(z)
        ctx.save_for_backward(state_low, vectors_low, weights, total)
        return total.log() + top[:, 0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        state, vectors, weights, total = ctx.saved_tensors
        share = (grads[0] / total)[:, None]
        grad_state = share * (weights @ vectors).float()
        scaled = torch.cat([share * state, share], 1).to(torch.bfloat16)  # [N, d + 1]
        grad_table = (weights.T @ scaled).float()
        return grad_state, grad_table[:, :-1], grad_table[:, -1], None
