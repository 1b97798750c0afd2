"""SURGE with request context and, if wanted, the return mechanism.

"Sequential Recommendation with Graph Neural Networks" (Chang et al., SIGIR 2021): a graph joins
the events of one interest, convolution fuses them, attention extracts what the query asks for, and
a recurrence follows how it evolves. What differs from the paper, and why:

* *Query.* The paper scores one given item, the query of its attention. Here a dot product scores
  the whole catalogue: the query is the latest event, with what is known of the request's moment.
* *Causal graph.* One pass answers the request after every event, so edges point back in time, an
  event is convolved as its own query, and edges are ranked among an event's predecessors, where
  the paper ranks those of the whole graph.
* *Edges* are 0 or 1 in the paper. Here those below the kept share fade out over a narrow band (one
  that flips with the last bit would part device from training), and attention adds the
  similarity: a kept edge's 1 gives the metric no gradient.
* *Convolution.* Attention is linear in [own, query, own * query], not an MLP over every pair, so
  it is made of matrix products. LeakyReLU keeps the cluster's score, the same for all neighbours,
  from cancelling in the softmax. Layer norm follows the activation.
* *Pooling* keeps the strongest share of events in their own order. The paper learns soft clusters,
  which would have to be built for every prefix apart; its regularisers of them go with them.
* *Recurrence.* The paper's AUGRU takes its steps one by one. Here gates and candidates do not read
  the former state (minGRU, Feng et al. 2024) and a head's channels share a gate: states are
  weighted sums, without a loop to train or to export, and every query has gates of its own.
* *Time.* The paper has none. Request context is SASRec's, relative time is in the extraction's
  attention: both backbones are told the same of a request.

Shapes: B batch, L events (oldest first), Q queries (L, or the last alone), H heads, d dim.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from training.encoders.attention_heads import join_heads, split_heads
from training.encoders.base import Encoder, EncoderConfig
from training.encoders.pair_terms import (
    LinearPairReader,
    PairReader,
    moments_of,
    pair_terms,
)
from training.encoders.pairs import FUTURE
from training.encoders.return_mechanism import no_copies
from training.encoders.strongest import strongest
from training.encoders.time_features import MomentContext, PairFeatures
from training.encoders.word_dropout import WordDropout

SIMILARITY_BAND = 0.05  # of cosine: edges this far below the weakest kept one are gone
ATTENTION_BAND = 0.5  # of attention logits, likewise
MAX_GATE = 0.999  # a gate of 1 would have the logarithm of what it leaves at -infinity


class SurgeConfig(EncoderConfig):
    """Stored with the weights; ``layers`` are rounds of interest fusion."""

    backbone: Literal["surge"] = "surge"
    edge_share: float = Field(default=0.5, gt=0, le=1, description="edges kept, strongest first")
    pool_share: float = Field(default=0.6, gt=0, le=1, description="events kept by the pooling")

    def build(self) -> Surge:
        return Surge(self)


class Surge(Encoder):
    """A graph of interests over the history."""

    def __init__(self, config: SurgeConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dim
        self.embed_item = nn.Linear(d, d)
        self.embed_norm = nn.LayerNorm(d)
        self.context = MomentContext(d) if config.has_time else None
        self.pairs = PairFeatures(config.has_time)
        self.interests = InterestGraph(d, config.heads, config.edge_share)
        self.fusions = nn.ModuleList(
            InterestFusion(d, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.extraction = InterestExtraction(d, config.window, self.pairs.size, config.pool_share)
        self.evolution = InterestEvolution(d, config.heads)
        self.predict = nn.Sequential(nn.Linear(4 * d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
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
        items = self.embed_item(item_vectors)
        x = self.placed(items, moments)

        similarity, edges = self.interests(items)
        fused = x
        for fusion in self.fusions:
            fused = fusion(fused, similarity, edges)

        terms = pair_terms(self.pairs, self.readers(), moments, last_only=last_only)
        query = x[:, -1:] if last_only else x
        readout, strength = self.extraction(query, fused, terms[0][0])
        evolved = self.evolution(fused, strength)
        known = torch.cat([evolved, readout, query, readout * query], -1)
        state = self.final_norm(query + self.dropout(self.predict(known)))
        e_str = self.to_e_str(state)
        if self.copy is None:
            return e_str, no_copies(e_str, age_hours)
        return e_str, self.copy(state, x, fused, terms[-1][0])

    def readers(self) -> list[PairReader]:
        """The extraction, then the copy head."""
        return [self.extraction] if self.copy is None else [self.extraction, self.copy]


class InterestGraph(nn.Module):
    """Which past events lie near an event (paper, 3.1): metric learning and sparsification."""

    def __init__(self, dim: int, heads: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.weight = nn.Parameter(1.0 + 0.1 * torch.randn(heads, dim))

    def forward(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L, d] -> similarity [B, L, L] in [-1, 1]; edges [B, L, L] in [0, 1], 1 to itself."""
        heads = normalize(items[:, :, None, :] * self.weight, dim=-1, eps=1e-6).flatten(2)
        similarity = heads @ heads.transpose(-1, -2) / len(self.weight)  # the mean of the heads
        steps_back = _steps_back(items.shape[1])
        edges = strongest(similarity, steps_back > 0, self.share, SIMILARITY_BAND)
        return similarity, edges + (steps_back == 0).to(edges.dtype)


class InterestFusion(nn.Module):
    """Convolution with cluster- and query-aware attention (paper, 3.2) as of each event."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.own = nn.Linear(dim, dim, bias=False)
        self.cluster = nn.Linear(3 * dim, heads)
        self.by_query = QueryAttention(dim, heads)
        self.by_similarity = nn.Parameter(torch.ones(heads, 1, 1, 1))
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = WordDropout(dropout)

    def forward(self, x: Tensor, similarity: Tensor, edges: Tensor) -> Tensor:
        """[B, L, d], [B, L, L], [B, L, L] -> [B, L, d]."""
        own, cluster = self.own(x), (edges / edges.sum(-1, keepdim=True)) @ x
        in_cluster = self.cluster(torch.cat([own, cluster, own * cluster], -1))  # [B, L, H]
        logits = leaky_relu(in_cluster.movedim(-1, 0)[..., None] + self.by_query(x, x), 0.2)
        logits = logits + self.by_similarity * similarity
        # Edges weigh the shares, not the logits: a fading edge then vanishes without a jump.
        logits = logits.masked_fill(edges == 0, FUTURE)
        weights = torch.exp(logits - logits.amax(-1, keepdim=True).detach()) * edges
        weights = weights / weights.sum(-1, keepdim=True)  # [H, B, L, L]
        mixed = join_heads(weights @ split_heads(self.value(x), self.heads))
        fused: Tensor = self.norm(x + self.dropout(nn.functional.gelu(self.out(mixed))))
        return fused


class InterestExtraction(LinearPairReader):
    """What a query takes from the graph (paper, 3.3): a readout of all, and the events to keep."""

    def __init__(self, dim: int, window: int, pair_features: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.terms = 1
        self.attention = QueryAttention(dim, heads=1)
        self.pair_bias = nn.Linear(pair_features, 1, bias=False)
        self.distance_bias = nn.Parameter(torch.zeros(window, 1))

    def forward(self, query: Tensor, events: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        """query [B, Q, d], events [B, L, d], terms [B, Q, L] -> readout and strength.

        The readout is [B, Q, d]. The strength [B, Q, L] in [0, 1] is an event's attention over that
        of the strongest, which does not shrink as histories grow, and 0 for what is left out.
        """
        logits = self.attention(query, events)[0] + terms
        readout = logits.softmax(-1) @ events
        kept = strongest(logits, terms > FUTURE / 2, self.share, ATTENTION_BAND)
        strength = torch.exp(logits - logits.amax(-1, keepdim=True)) * kept
        return readout, strength


class InterestEvolution(nn.Module):
    """A recurrence with attentional update gates (paper, 3.4), for all queries at once.

    With u_i = strength_i * sigmoid(z_i) the state is h_i = (1 - u_i) h_(i-1) + u_i c_i: an event
    that is left out leaves it as it was. Unrolled, c_i counts u_i * prod over k > i of (1 - u_k).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.gate = nn.Linear(dim, heads)
        self.candidate = nn.Linear(dim, dim)

    def forward(self, events: Tensor, strength: Tensor) -> Tensor:
        """events [B, L, d], strength [B, Q, L] -> the state [B, Q, d] after the last event."""
        open_to = torch.sigmoid(self.gate(events)).movedim(-1, 0)[:, :, None, :]  # [H, B, 1, L]
        gates = MAX_GATE * open_to * strength
        # Sums over later events as a product: exact near the end, where a difference of two
        # running sums would cancel.
        later = (_steps_back(events.shape[1]) > 0).to(gates.dtype)  # [k, i], k > i
        weights = gates * torch.exp(torch.log1p(-gates) @ later)
        return join_heads(weights @ split_heads(torch.tanh(self.candidate(events)), self.heads))


class QueryAttention(nn.Module):
    """Logits linear in [W x_j, q_i, W x_j * q_i], of every query and event, by head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.key = nn.Linear(dim, dim, bias=False)
        self.of_event = nn.Linear(dim, heads, bias=False)
        self.of_query = nn.Linear(dim, heads, bias=False)
        self.of_both = nn.Parameter(torch.randn(heads, 1, 1, dim) / math.sqrt(dim))

    def forward(self, query: Tensor, events: Tensor) -> Tensor:
        """query [B, Q, d], events [B, L, d] -> [H, B, Q, L]."""
        key = self.key(events)
        both = (query * self.of_both) @ key.transpose(-1, -2)
        of_event = self.of_event(key).movedim(-1, 0)[:, :, None, :]
        logits: Tensor = both + of_event + self.of_query(query).movedim(-1, 0)[..., None]
        return logits


def _steps_back(length: int) -> Tensor:
    """[L, L] how many events j lies before i."""
    step = torch.arange(length)
    return step[:, None] - step[None, :]
