"""Clients: what a device learns from its own events, many devices at once.

Each device starts from its edge's weights, takes a step of plain gradient descent on each window of
its training events, and hands the weights back. Its personal vector is added to the state and stays
where it is. Devices are simulated side by side (``torch.vmap``); each has weights of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from training.backbone.batches import Windows
from training.backbone.objective import RepeatPolicy, sampled_logsumexp
from training.encoders.base import Encoder

Weights = dict[str, Tensor]
MODEL, VECTORS, BIAS, PERSONAL = "model.", "vectors", "bias", "personal"
CLIP = 1.0  # longest gradient of a client's step
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Seen:
    """One window of each of C clients; padded on the right.

    Attributes:
        item, next_item: [C, W]. age_h, hour: [C, W]. request_hour: [C].
        wanted: [C, W] places whose next item is learned; none of a client that has no more windows.
    """

    item: Tensor
    next_item: Tensor
    age_h: Tensor
    hour: Tensor
    request_hour: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, windows: Windows, rows: Tensor) -> Seen:
        """The windows ``rows`` [C]; -1 of a client that is done."""
        there = rows >= 0
        part = windows.rows(rows.clamp(min=0))
        return cls(
            item=part.item,
            next_item=part.next_item,
            age_h=part.age_h,
            hour=part.hour,
            request_hour=part.request_hour,
            wanted=part.wanted & there[:, None],
        )


class Clients:
    """Local training of devices that run one encoder.

    Args:
        encoder: of the sizes that all have; its own weights are not read.
    """

    def __init__(self, encoder: Encoder, policy: RepeatPolicy) -> None:
        self._encode, self._policy = _Encode(encoder), policy
        self._gradients = torch.vmap(grad_and_value(self.loss), in_dims=(0, 0, None))

    def loss(self, weights: Weights, seen: tuple[Tensor, ...], negatives: Tensor) -> Tensor:
        """Mean cross-entropy of one client's window, by sampled negatives; 0 of none.

        Args:
            weights: of the client: the encoder's (behind MODEL), VECTORS [I, d], BIAS [I] and
                PERSONAL [d].
            seen: the columns of ``Seen`` without the first axis.
            negatives: [S] items, drawn uniformly.
        """
        item, following, age_h, hour, request_hour, wanted = seen
        vectors, bias = weights[VECTORS], weights[BIAS]
        inner = {f"encoder.{k.removeprefix(MODEL)}": v for k, v in weights.items() if MODEL in k}
        inputs = (vectors[item][None], age_h[None], hour[None], request_hour[None])
        state = functional_call(self._encode, inner, inputs)[0] + weights[PERSONAL]
        own = (state * vectors[following]).sum(-1) + bias[following]
        barred = None
        if self._policy == "exclude":
            past = torch.ones(len(item), len(item), dtype=torch.bool).tril()
            barred = torch.where(past, item[None, :], item[:1, None])
            wanted = wanted & ~(barred == following[:, None]).any(1)
        log_z = sampled_logsumexp(state, vectors, bias, following, own, negatives, barred)
        mean: Tensor = ((log_z - own) * wanted).sum() / wanted.sum().clamp(min=1)
        return mean

    def step(
        self, weights: Weights, seen: Seen, negatives: Tensor, rate: float
    ) -> tuple[Weights, Tensor]:
        """All clients one step further, and the loss [C] of each before it."""
        columns = tuple(vars(seen).values())
        found: tuple[Weights, Tensor] = self._gradients(weights, columns, negatives)
        gradients, loss = found
        squares = [value.flatten(1).square().sum(1) for value in gradients.values()]
        length = torch.stack(squares).sum(0).sqrt()
        scale = rate * (CLIP / length.clamp(min=_TINY)).clamp(max=1.0)
        moved = {
            name: value - scale.view(-1, *[1] * (value.dim() - 1)) * gradients[name]
            for name, value in weights.items()
        }
        return moved, loss.detach()

    @torch.no_grad()
    def learn(
        self,
        weights: Weights,
        windows: Windows,
        rows: Tensor,
        rate: float,
        draw: Callable[[], Tensor],
    ) -> tuple[Weights, float]:
        """Every client once through its own windows.

        Args:
            weights: [C, ...] of each client.
            rows: [C, S] its windows, in order; -1 after the last.
            draw: negatives of the next step.

        Returns:
            the weights after it, and the sum over all targets of the loss before each step.
        """
        total = 0.0
        for step in range(rows.shape[1]):
            seen = Seen.of(windows, rows[:, step])
            weights, loss = self.step(weights, seen, draw(), rate)
            total += float((loss * seen.wanted.sum(1)).sum())
        return weights, total


class _Encode(nn.Module):
    """The states of an encoder alone, as ``functional_call`` wants a module."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, vectors: Tensor, age_h: Tensor, hour: Tensor, request_hour: Tensor) -> Tensor:
        states: Tensor = self.encoder.encode(vectors, age_h, hour, request_hour)[0]
        return states


def federated_average(parts: Mapping[str, Tensor], events: Tensor) -> Weights:
    """sum_c n_c w_c / sum_c n_c of weights [C, ...] of clients with n [C] events.

    McMahan et al., "Communication-efficient learning of deep networks", AISTATS 2017, algorithm 1.

    Raises:
        ValueError: no client has an event.
    """
    total = events.sum()
    if not total > 0:
        raise ValueError("a federated average needs a client with events")
    share = (events / total).float()
    return {name: torch.tensordot(share, value, dims=1) for name, value in parts.items()}
