"""SASRec with request context and, if wanted, the return mechanism.

The backbone is self-attention over the last W events (Kang & McAuley, ICDM 2018; equations 1 and 8
of SCaLRec, arXiv 2601.22543). Three things differ from the plain model:

* *Request context.* The state at event i is asked about the moment of the *next* request; nothing
  about the next *item* is used (see `Encoder`).
* *Relative time.* Attention carries a bias per head from the distance in events, the log of the
  age at request time and the difference in hour of day and week; no absolute positions.
* *Return mechanism.* Copy logits over the history (see `return_mechanism`).

Attention is written out by hand because exporters specialise the sizes inside the fused kernel.

Shapes: B batch, L events (oldest first), Q queries, H heads, d dim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from training.encoders.attention_heads import join_heads, split_heads
from training.encoders.base import Encoder, EncoderConfig
from training.encoders.pair_terms import (
    LinearPairReader,
    PairReader,
    moments_of,
    pair_terms,
)
from training.encoders.return_mechanism import no_copies
from training.encoders.time_features import MomentContext, PairFeatures
from training.encoders.word_dropout import WordDropout


class SASRecConfig(EncoderConfig):
    """Stored with the weights."""

    backbone: Literal["sasrec"] = "sasrec"

    def build(self) -> SASRec:
        return SASRec(self)


class SASRec(Encoder):
    """Self-attention over the history."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dim
        self.embed_item = nn.Linear(d, d)
        self.embed_norm = nn.LayerNorm(d)
        self.context = MomentContext(d) if config.has_time else None
        self.pairs = PairFeatures(config.has_time)
        self.blocks = nn.ModuleList(
            Block(d, config.heads, config.window, self.pairs.size, config.dropout)
            for _ in range(config.layers)
        )
        self.final_norm = nn.LayerNorm(d)
        self.to_e_str = nn.Linear(d, d)
        self.copy = config.copy_head(self.pairs.size)
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

        terms = pair_terms(
            self.pairs, self.readers(), moments, last_only=last_only, lower=len(self.blocks) - 1
        )
        below = x
        for i, block in enumerate(self.blocks):
            below = x
            if last_only and i == len(self.blocks) - 1:
                x = block(x[:, -1:], x, terms[i])
            else:
                x = block(x, x, terms[i], asked if i == len(self.blocks) - 1 else None)
        state = self.final_norm(x)
        e_str = self.to_e_str(state)
        if asked is not None:
            state, e_str = (_spread(rows, asked, first) for rows in (state, e_str))
        if self.copy is None:
            return e_str, no_copies(e_str, age_hours)
        return e_str, self.copy(state, first, below, terms[-1][0])

    def readers(self) -> list[PairReader]:
        """The blocks, then the copy head."""
        found: list[PairReader] = list(cast(Iterable[Block], self.blocks))
        return found if self.copy is None else [*found, self.copy]


class Block(LinearPairReader):
    """Pre-norm transformer block whose attention logits carry a bias from relative time."""

    def __init__(
        self, dim: int, heads: int, window: int, pair_features: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads = self.terms = heads
        self.scale = 1.0 / math.sqrt(dim // heads)
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.pair_bias = nn.Linear(pair_features, heads, bias=False)
        self.distance_bias = nn.Parameter(torch.zeros(window, heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )
        self.dropout = WordDropout(dropout)

    def forward(
        self, asking: Tensor, events: Tensor, terms: Tensor, asked: Tensor | None = None
    ) -> Tensor:
        """Update the asking states; the last event asked about sees all L, earlier ones less.

        asking [B, Q, d], events [B, L, d], terms [H, B, Q, L] added to the logits -> [B, Q, d];
        with ``asked`` [N], flat places of the states that are wanted, those alone: [N, d].
        """
        normed = self.norm(events)
        q = split_heads(
            self.query(normed if asking is events else self.norm(asking)) * self.scale, self.heads
        )
        k, v = (split_heads(t, self.heads) for t in self.key_value(normed).chunk(2, dim=-1))
        weights = (q @ k.transpose(-1, -2) + terms).softmax(-1)  # [H, B, Q, L]
        read, among = join_heads(weights @ v), asking[..., 0].numel()
        if asked is not None:
            asking, read = (t.flatten(0, 1).index_select(0, asked) for t in (asking, read))
        x = asking + self.dropout(self.out(read), asked, among)
        updated: Tensor = x + self.dropout(self.mlp(x), asked, among)
        return updated


def _spread(rows: Tensor, places: Tensor, like: Tensor) -> Tensor:
    """rows [N, d] at their flat places [N] -> [B, L, d], zeros elsewhere."""
    return torch.zeros_like(like).flatten(0, 1).index_copy(0, places, rows).view(like.shape)
