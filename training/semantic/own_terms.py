"""OwnTerms: what a device adds to structure from its own events, without any cloud."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shared.own_score import OwnCounts


@dataclass(frozen=True, eq=False)
class OwnTerms:
    """Of A requests.

    Attributes:
        counts: a, c and half-life of the count term; None: there is none.
        text: [A, d] e_text(t), the text student's vector; None: there is no student.
        text_weight: b, of <e_text(t), v'_i> beside structure.
        kept: events that a device keeps; None: all of them.
    """

    counts: OwnCounts | None = None
    text: Tensor | None = None
    text_weight: float = 1.0
    kept: int | None = None


def count_bonus(counts: Tensor, own: OwnCounts) -> Tensor:
    """a log(1 + c n), elementwise, for decayed counts n."""
    return own.weight * torch.log1p(own.scale * counts)
