"""Deep Interest Network: a history is read anew for every candidate.

"Deep Interest Network for Click-Through Rate Prediction" (Zhou et al., KDD 2018, section 4.3): an
activation unit weighs every past event for the candidate, the weighted sum is the user's interest
in it, and an MLP scores interest and candidate. Weights are not normalised, as in the paper, so
that a longer history may mean a stronger interest, and zero vectors leave the sum as it is.

The unit's hidden layer is linear in [event, candidate, event * candidate]. The products' part is
written as matrix products of scaled events with candidates: no [B, L, C, d] tensor is formed.

Shapes: B batch, L events, C candidates, d dim, h hidden units of the activation unit.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from training.encoders.candidate_scorer import CandidateScorer, ScorerConfig
from training.encoders.word_dropout import WordDropout


class DINConfig(ScorerConfig):
    """Stored with the weights."""

    kind: Literal["din"] = "din"
    attention_hidden: int = Field(default=16, ge=1)
    hidden: int = Field(default=64, ge=1, description="units of the MLP's first layer; then half")

    def build(self) -> DIN:
        return DIN(self)


class DIN(CandidateScorer):
    """Target attention and an MLP."""

    def __init__(self, config: DINConfig) -> None:
        super().__init__()
        self.config = config
        d, h = config.dim, config.attention_hidden
        self.of_event = nn.Linear(d, h)
        self.of_candidate = nn.Linear(d, h, bias=False)
        self.of_both = nn.Parameter(torch.randn(h, d) / d**0.5)
        self.activation = nn.PReLU(h)
        self.weigh = nn.Linear(h, 1)
        half = max(1, config.hidden // 2)
        self.mlp = nn.Sequential(
            nn.Linear(3 * d, config.hidden),
            nn.PReLU(),
            WordDropout(config.dropout),
            nn.Linear(config.hidden, half),
            nn.PReLU(),
            nn.Linear(half, 1, bias=False),  # every candidate would get the same bias
        )
        self.dropout = WordDropout(config.dropout)

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """As `CandidateScorer.forward`."""
        history = self.dropout(history)
        weights = self.weights(history, candidates)
        interest = weights @ history  # [B, C, d]
        scores: Tensor = self.mlp(torch.cat([interest, candidates, interest * candidates], -1))
        return scores[..., 0]

    def weights(self, history: Tensor, candidates: Tensor) -> Tensor:
        """What each event counts for each candidate, [B, C, L]."""
        scaled = history[:, None] * self.of_both[:, None]  # [B, h, L, d]
        both = scaled.flatten(1, 2) @ candidates.transpose(1, 2)  # one product per request
        both = torch.unflatten(both, 1, (scaled.shape[1], -1))  # [B, h, L, C]
        of_event = self.of_event(history).transpose(1, 2)[..., None]
        of_candidate = self.of_candidate(candidates).transpose(1, 2)[:, :, None]
        units = self.activation(both + of_event + of_candidate)
        weights = self.weigh.weight @ units.flatten(2) + self.weigh.bias  # [B, 1, L * C]
        by_event = torch.unflatten(weights[:, 0], 1, units.shape[2:])
        return by_event.transpose(1, 2)
