"""GRU4Rec with request context and, if wanted, the return mechanism.

"Session-based Recommendations with Recurrent Neural Networks" (Hidasi et al., ICLR 2016): gated
recurrent units read the history event by event, and their last state is the query. What differs
from the paper: item vectors come from outside (see `Encoder`), losses are those of every backbone
here, and the state is told the moment of the next request as in SASRec, so that the backbones know
the same of a request. The recurrence exports as ONNX's own GRU.

Shapes: B batch, L events (oldest first), Q queries (L, or the last alone), d dim.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from training.encoders.base import Encoder, EncoderConfig
from training.encoders.pair_terms import LinearPairReader, PairReader, moments_of, pair_terms
from training.encoders.recurrence import Recurrence
from training.encoders.return_mechanism import no_copies
from training.encoders.time_features import MomentContext, PairFeatures
from training.encoders.word_dropout import WordDropout


class GRU4RecConfig(EncoderConfig):
    """Stored with the weights; ``layers`` are recurrent ones, ``heads`` is not used."""

    backbone: Literal["gru4rec"] = "gru4rec"
    hidden: int = Field(default=128, ge=1, description="units of each recurrent layer")

    def build(self) -> GRU4Rec:
        return GRU4Rec(self)


class GRU4Rec(Encoder):
    """A recurrence over the history."""

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dim
        self.embed_item = nn.Linear(d, d)
        self.embed_norm = nn.LayerNorm(d)
        self.context = MomentContext(d) if config.has_time else None
        self.layers = nn.ModuleList(
            Recurrence(d if place == 0 else config.hidden, config.hidden)
            for place in range(config.layers)
        )
        self.to_state = nn.Linear(config.hidden, d)
        self.final_norm = nn.LayerNorm(d)
        self.to_e_str = nn.Linear(d, d)
        self.pairs = PairFeatures(config.has_time)
        self.copy = config.copy_head(self.pairs.size)
        self.linear = None if self.copy is None else LinearTerm(config.window, self.pairs.size)
        self.dropout = WordDropout(config.dropout)

    def encode(
        self,
        item_vectors: Tensor,
        age_hours: Tensor,
        event_hour: Tensor,
        request_hour: Tensor,
        *,
        last_only: bool = False,
        asked: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `Encoder.encode`."""
        moments = moments_of(age_hours, event_hour, request_hour)
        x = first = self.placed(self.embed_item(item_vectors), moments)
        for layer in self.layers:
            x = self.dropout(layer(x))
        below = self.to_state(x)
        asking = below[:, -1:] if last_only else below
        state = self.final_norm(asking)
        e_str = self.to_e_str(state)
        if self.copy is None:
            return e_str, no_copies(e_str, age_hours)
        terms = pair_terms(self.pairs, self.readers(), moments, last_only=last_only)
        return e_str, self.copy(state, first, below, terms[0][0] + terms[1][0])

    def readers(self) -> list[PairReader]:
        """What the copy head reads; the recurrence itself has no distances."""
        return [] if self.copy is None or self.linear is None else [self.linear, self.copy]


class LinearTerm(LinearPairReader):
    """A straight way from relative time to the copy logits, beside the head's hidden layer."""

    def __init__(self, window: int, pair_features: int) -> None:
        super().__init__()
        self.terms = 1
        self.pair_bias = nn.Linear(pair_features, 1, bias=False)
        self.distance_bias = nn.Parameter(torch.zeros(window, 1))
