"""Encoder: what training and export ask of every backbone (the device's f_str).

Encoders take item *vectors*, not ids: a device that holds no item table can run them. One pass
answers the request after every event; the moment of a request, its time and local hour, is known
to a device, and within a history that moment is simply the next event's.

Shapes: B batch, L events (oldest first), Q queries, d dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from training.encoders.pair_terms import Moments, PairReader
from training.encoders.return_mechanism import CopyHead
from training.encoders.size import EncoderSize
from training.encoders.time_features import MomentContext
from training.encoders.word_dropout import WordDropout


class EncoderConfig(EncoderSize):
    """Size and abilities that every encoder has; each backbone's own class names and adds to it."""

    backbone: str
    heads: int = Field(default=2, ge=1)
    window: int = Field(default=50, ge=1, description="W, most recent events the encoder sees")
    has_time: bool = Field(default=True, description="the log has event times; else order only")
    copy_hidden: int = Field(default=16, ge=1, description="hidden units over pair features")

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> EncoderConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by heads {self.heads}")
        return self

    def copy_head(self, pair_features: int) -> CopyHead | None:
        """The return mechanism, if it is wanted, over ``pair_features`` of events and requests."""
        if not self.return_mechanism:
            return None
        return CopyHead(self.dim, self.copy_hidden, self.window, pair_features)

    def build(self) -> Encoder:
        """An untrained encoder of this configuration."""
        raise NotImplementedError


class Encoder(nn.Module):
    """f_str: a history of item vectors and its times -> (e_str, copy logits)."""

    config: EncoderConfig
    embed_norm: nn.LayerNorm
    context: MomentContext | None
    copy: CopyHead | None
    dropout: WordDropout

    def forward(
        self, item_vectors: Tensor, age_hours: Tensor, event_hour: Tensor, request_hour: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Answer one request per row; this is the graph that is exported.

        Args:
            item_vectors: [B, L, d] float32, oldest first, 1 <= L <= window, no padding.
            age_hours: [B, L] request time minus event time, hours >= 0 (zeros without times).
            event_hour: [B, L] local hour of week of each event, in [0, 168), Monday 00:00 = 0.
            request_hour: [B] local hour of week of the request.

        Returns:
            e_str [B, d] and copy_logit [B, L] (NO_COPY throughout without a return mechanism).
        """
        e_str, copy_logit = self.encode(
            item_vectors, age_hours, event_hour, request_hour, last_only=True
        )
        return e_str[:, 0], copy_logit[:, 0]

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
        """Answer the request that follows *each* event (Q = L), or only the last (Q = 1).

        Arguments as in `forward`. Rows may be padded on the right: a causal model never looks
        there. The request after event i is event i+1's moment, so a shorter row must carry its
        request's age and hour in the first padded place.

        Args:
            asked: [N] places among the B * L, row by row, whose answers somebody reads; all when
                None. Elsewhere an encoder may save the work, and answers mean nothing.

        Returns:
            e_str [B, Q, d] and copy_logit [B, Q, L], NO_COPY for events after the query.
        """
        raise NotImplementedError

    def placed(self, items: Tensor, moments: Moments) -> Tensor:
        """Embedded items [B, L, d] with what their moments say, normalised and dropped out."""
        age, event_hour, query_age, query_hour = moments
        if self.context is not None:
            items = items + self.context(event_hour, query_hour, age - query_age)
        found: Tensor = self.dropout(self.embed_norm(items))
        return found

    def readers(self) -> Sequence[PairReader]:
        """What reads pair terms, in the order of the layers; a copy head comes last."""
        raise NotImplementedError

    def extend_distances(self, trained: int) -> None:
        """Give distances of ``trained`` events and more what nearer ones have learned.

        They start as the curve they were initialised with, moved to meet the outer fifth of the
        trained rows: a flat continuation in attention, further decay in the copy head.
        """
        edge = slice(trained - max(1, trained // 5), trained)
        with torch.no_grad():
            for reader in self.readers():
                table, start = reader.distance_bias, reader.untrained_distances()
                learned = (table[edge] - start[edge]).mean(0)
                table[trained:] = start[trained:] + learned
