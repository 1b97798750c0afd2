"""The return mechanism: a pointer over the history that any encoder can carry.

In the spirit of CopyNet (Gu et al., ACL 2016) and RepeatNet (Ren et al., AAAI 2019) it gives every
past event a copy logit. An item's score is

    score(i) = <e_str, v_i> + b_i + log(1 + sum over {j : x_j = i} of exp(copy_logit_j))

so a decayed-frequency counter is a special case (e_str = 0, b = 0, copy_logit = -k ln2 / h + c),
and exp(score(i)) is an additive mixture of generating and copying.

Shapes: B batch, L events, Q queries, d dim, h hidden, F pair features.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from training.encoders.pairs import FUTURE

NO_COPY = -1e4  # exp() of it is exactly 0 in float32, and it stays finite in every format
MAX_COPY = 30.0  # keeps exp() of a copy logit, and sums of them, inside float32
HALF_LIFE_EVENTS = 20.0  # the counter that an untrained return mechanism starts from


class CopyHead(nn.Module):
    """How strongly a request points back at each past event."""

    def __init__(self, dim: int, hidden: int, window: int, pair_features: int) -> None:
        super().__init__()
        self.terms = 1
        self.scale = 1.0 / math.sqrt(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(3 * dim, dim)
        self.pair = nn.Sequential(
            nn.Linear(pair_features, hidden),
            nn.GELU(),
            nn.Linear(hidden, 1, bias=False),
        )
        # Start as the decayed-frequency counter; training departs from there.
        self.distance_bias = nn.Parameter(counter_decay(window))

    def pair_weights(self) -> Tensor:
        """[h, F]: what maps pair features."""
        return self.pair_layers()[0].weight

    def pair_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """What makes hidden units of pair features, and what reads them."""
        return cast(nn.Linear, self.pair[0]), cast(nn.Linear, self.pair[2])

    def pair_terms(self, maps: Tensor) -> Tensor:
        """[h, n] mapped features -> [1, n] terms."""
        first, last = self.pair_layers()
        active = nn.functional.gelu(maps + first.bias[:, None])
        return (last.weight[0] @ active)[None]

    def untrained_distances(self) -> Tensor:
        """[W, 1], as initialised."""
        return counter_decay(len(self.distance_bias))

    def forward(self, state: Tensor, first: Tensor, below: Tensor, terms: Tensor) -> Tensor:
        """state [B, Q, d], first and below [B, L, d], terms [B, Q, L] -> copy logit [B, Q, L].

        The key of an event sees the event itself, the one before it ("what came next the last
        time?") and its context; all are known at the event's own time.
        """
        before = torch.cat([torch.zeros_like(first[:, :1]), first], 1)[:, :-1]
        key = self.key(torch.cat([first, before, below], -1))
        logits = (self.query(state) * self.scale) @ key.transpose(-1, -2) + terms
        future = terms < FUTURE / 2
        bounded: Tensor = logits.clamp(-MAX_COPY, MAX_COPY).masked_fill(future, NO_COPY)
        return bounded


def counter_decay(window: int) -> Tensor:
    """Copy logits [W, 1] by distance that make scores a decayed-frequency counter."""
    steps = torch.arange(window, dtype=torch.float32)
    return 2.0 - steps[:, None] * (math.log(2.0) / HALF_LIFE_EVENTS)


def no_copies(e_str: Tensor, age_hours: Tensor) -> Tensor:
    """e_str [B, Q, d], age_hours [B, L] -> [B, Q, L], all NO_COPY: nothing is copied."""
    blank = torch.full_like(age_hours, NO_COPY)[:, None, :]
    return blank.expand(-1, e_str.shape[1], -1)
