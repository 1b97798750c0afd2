"""SASRec with request context and an explicit return mechanism (the device's f_str).

The backbone is self-attention over the last W events (Kang & McAuley, ICDM 2018; equations 1 and 8
of SCaLRec, arXiv 2601.22543). Three things differ from the plain model:

* *Request context.* The state at event i is asked about the moment of the *next* request, whose
  time and local hour a device knows. Within a history that moment is simply the next event's, so
  one pass still predicts every position, and nothing about the next *item* is used.
* *Relative time.* Attention carries a bias per head from the distance in events, the log of the
  age at request time and the difference in hour of day and week; no absolute positions.
* *Return mechanism.* A pointer over the history (in the spirit of CopyNet, Gu et al., ACL 2016, and
  RepeatNet, Ren et al., AAAI 2019) gives every past event a copy logit. An item's score is

      score(i) = <e_str, v_i> + b_i + log(1 + sum over {j : x_j = i} of exp(copy_logit_j))

  so a decayed-frequency counter is a special case (e_str = 0, b = 0, copy_logit = -k ln2 / h + c),
  and exp(score(i)) is an additive mixture of generating and copying.

The model takes item *vectors*, not ids: a device that holds no item table can run it. Attention is
written out by hand because exporters specialise the sizes inside the fused kernel.

Shapes: B batch, L events (oldest first), Q queries, H heads, d dim, F pair features, C terms (one
per head of every block and one for the copy head).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from training.encoders.pair_maps import pair_maps
from training.encoders.pairs import FUTURE, CausalPairs
from training.encoders.word_dropout import WordDropout

HOURS_PER_WEEK = 168.0
WEEKEND_STARTS = 120.0  # Monday 00:00 is hour 0
NO_COPY = -1e4  # exp() of it is exactly 0 in float32, and it stays finite in every format
MAX_COPY = 30.0  # keeps exp() of a copy logit, and sums of them, inside float32
HALF_LIFE_EVENTS = 20.0  # the counter that an untrained return mechanism starts from
AGE_KNOTS_H = (0.5, 2.0, 6.0, 14.0, 30.0, 80.0, 200.0, 700.0)  # where an age curve may bend
DAY_HARMONICS = (1, 2, 3, 4)
WEEK_HARMONICS = (1, 2, 3)


class SASRecConfig(BaseModel):
    """Size and abilities of the encoder; stored in the bundle manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(default=64, ge=2, description="d, length of item vectors and of e_str")
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    window: int = Field(default=50, ge=1, description="W, most recent events the encoder sees")
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    has_time: bool = Field(default=True, description="the log has event times; else order only")
    return_mechanism: bool = Field(default=True, description="copy logits over the history")
    copy_hidden: int = Field(default=16, ge=1, description="hidden units over pair features")

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> SASRecConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not divisible by heads {self.heads}")
        return self


class SASRec(nn.Module):
    """f_str: a history of item vectors and its times -> (e_str, copy logits)."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dim
        self.embed_item = nn.Linear(d, d)
        self.embed_norm = nn.LayerNorm(d)
        self.context = RequestContext(d) if config.has_time else None
        self.pairs = PairFeatures(config.has_time)
        self.blocks = nn.ModuleList(
            Block(d, config.heads, config.window, self.pairs.size, config.dropout)
            for _ in range(config.layers)
        )
        self.final_norm = nn.LayerNorm(d)
        self.to_e_str = nn.Linear(d, d)
        self.copy = CopyHead(config, self.pairs.size) if config.return_mechanism else None
        self.dropout = WordDropout(config.dropout)

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
    ) -> tuple[Tensor, Tensor]:
        """Answer the request that follows *each* event (Q = L), or only the last (Q = 1).

        Arguments as in `forward`. Rows may be padded on the right: a causal model never looks
        there. The request after event i is event i+1's moment, so a shorter row must carry its
        request's age and hour in the first padded place.

        Returns:
            e_str [B, Q, d] and copy_logit [B, Q, L], NO_COPY for events after the query.
        """
        # The request's own moment is age 0; shifting by one gives every event its next moment.
        query_age = torch.cat([age_hours, torch.zeros_like(age_hours[:, :1])], 1)[:, 1:]
        query_hour = torch.cat([event_hour, request_hour[:, None]], 1)[:, 1:]
        x = self.embed_item(item_vectors)
        if self.context is not None:
            x = x + self.context(event_hour, query_hour, age_hours - query_age)
        x = first = self.dropout(self.embed_norm(x))

        moments = (age_hours, event_hour, query_age, query_hour)
        terms = self._pair_terms(moments, last_only=last_only)
        below = x
        for i, block in enumerate(self.blocks):
            below = x
            if last_only and i == len(self.blocks) - 1:
                x = block(x[:, -1:], x, terms[i])
            else:
                x = block(x, x, terms[i])
        state = self.final_norm(x)
        e_str = self.to_e_str(state)
        if self.copy is None:
            blank = torch.full_like(age_hours, NO_COPY)[:, None, :]
            return e_str, blank.expand(-1, e_str.shape[1], -1)
        return e_str, self.copy(state, first, below, terms[-1][0])

    def extend_distances(self, trained: int) -> None:
        """Give distances of ``trained`` events and more what nearer ones have learned.

        They start as the curve they were initialised with, moved to meet the outer fifth of the
        trained rows: a flat continuation in attention, further decay in the copy head.
        """
        edge = slice(trained - max(1, trained // 5), trained)
        with torch.no_grad():
            for reader in self._readers():
                table, start = reader.distance_bias, reader.untrained_distances()
                learned = (table[edge] - start[edge]).mean(0)
                table[trained:] = start[trained:] + learned

    def _readers(self) -> list[Block | CopyHead]:
        """What reads pair terms, in the order of the layers; the copy head comes last."""
        found: list[Block | CopyHead] = list(cast(Iterable[Block], self.blocks))
        return found if self.copy is None else [*found, self.copy]

    def _pair_terms(
        self, moments: tuple[Tensor, Tensor, Tensor, Tensor], *, last_only: bool
    ) -> list[Tensor]:
        """What relative time and distance add to the logits of each reader.

        [C, B, Q, L] with FUTURE for events after the query. Q = L, but 1 with ``last_only`` for
        the readers that then answer the last request alone: the last block and the copy head.
        """
        length, readers = moments[0].shape[1], self._readers()
        if not last_only:
            # No gradient reaches the features, and half of all pairs lies in the future: the
            # others alone are computed, packed, for all readers in one product.
            pairs = CausalPairs(length)
            with torch.no_grad():
                features = self.pairs(*pairs.pack(*moments))  # [F, B, P]
            terms = _pair_terms(readers, features, pairs.distance, in_pieces=True)
            return list(torch.split(pairs.unpack(terms), [r.terms for r in readers]))
        step = torch.arange(length, device=moments[0].device)
        distance = step[:, None] - step[None, :]
        age, hour, query_age, query_hour = moments
        features = self.pairs(
            age[:, None, :], hour[:, None, :], query_age[:, :, None], query_hour[:, :, None]
        )  # [F, B, L, L]
        lower, last = readers[: len(self.blocks) - 1], readers[len(self.blocks) - 1 :]
        found: list[Tensor] = []
        if lower:
            terms = _pair_terms(lower, features, distance).masked_fill(distance < 0, FUTURE)
            found += torch.split(terms, [r.terms for r in lower])
        terms = _pair_terms(last, features[:, :, -1:], distance[-1:])
        return [*found, *torch.split(terms, [r.terms for r in last])]


def _pair_terms(
    readers: Sequence[Block | CopyHead],
    features: Tensor,
    distance: Tensor,
    *,
    in_pieces: bool = False,
) -> Tensor:
    """features [F, B, ...], distance [...] in events -> [C, B, ...], terms of all readers.

    ``in_pieces`` is for training: faster, but no graph that can be exported.
    """
    weights = [reader.pair_weights() for reader in readers]
    last = readers[-1]
    if in_pieces and isinstance(last, CopyHead):
        first, final = last.pair_layers()
        terms = pair_maps(
            features.flatten(1), torch.cat(weights[:-1]), first.weight, first.bias, final.weight[0]
        )
    else:
        maps = torch.cat(weights) @ features.flatten(1)
        shared = torch.split(maps, [len(weight) for weight in weights])
        terms = torch.cat([r.pair_terms(part) for r, part in zip(readers, shared, strict=True)])
    tables = torch.cat([reader.distance_bias for reader in readers], 1)  # [W, C]
    by_distance = nn.functional.embedding(distance.clamp(min=0), tables).movedim(-1, 0)
    return terms.reshape(-1, *features.shape[1:]) + by_distance[:, None]


class RequestContext(nn.Module):
    """What a state knows of its event's hour, the next request's hour and the time between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.event = nn.Linear(_HOUR_FEATURES, dim, bias=False)
        self.query = nn.Linear(_HOUR_FEATURES, dim, bias=False)
        self.gap = nn.Linear(_AGE_FEATURES, dim)

    def forward(self, event_hour: Tensor, query_hour: Tensor, gap_h: Tensor) -> Tensor:
        """[B, L] each -> [B, L, d]."""
        hours = self.event(hour_features(event_hour)) + self.query(hour_features(query_hour))
        context: Tensor = hours + self.gap(age_features(gap_h))
        return context


class PairFeatures(nn.Module):
    """How a past event relates to a request in time: age and agreement of hour and weekday."""

    def __init__(self, has_time: bool) -> None:
        super().__init__()
        self.has_time = has_time
        # Without times one constant feature keeps every shape; the event distance still speaks.
        self.size = _AGE_FEATURES + len(DAY_HARMONICS) + len(WEEK_HARMONICS) + 2 if has_time else 1

    def forward(
        self, age_h: Tensor, event_hour: Tensor, query_age_h: Tensor, query_hour: Tensor
    ) -> Tensor:
        """Event and query side of every pair, of shapes that broadcast to [...] -> [F, ...]."""
        # Negative where the event lies after the query; masked later, clamped here to stay finite.
        age = (age_h - query_age_h).clamp(min=0.0)
        if not self.has_time:
            return torch.ones_like(age)[None]
        turn = (event_hour - query_hour) * (2 * math.pi / HOURS_PER_WEEK)
        circles = [torch.cos(7 * k * turn) for k in DAY_HARMONICS]
        circles += [torch.cos(k * turn) for k in WEEK_HARMONICS]
        # A bump about 1.5 h wide: exp(700 (cos - 1)), without the rounding of a cosine near 1.
        same_hour = torch.exp(-1400.0 * torch.sin(turn / 2).square())
        same_kind = (event_hour >= WEEKEND_STARTS) == (query_hour >= WEEKEND_STARTS)
        return torch.stack([*_age_curve(age), *circles, same_hour, same_kind.to(age.dtype)])


class Block(nn.Module):
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

    def forward(self, asking: Tensor, events: Tensor, terms: Tensor) -> Tensor:
        """Update the asking states; the last event asked about sees all L, earlier ones less.

        asking [B, Q, d], events [B, L, d], terms [H, B, Q, L] added to the logits -> [B, Q, d].
        """
        normed = self.norm(events)
        q = self._split(self.query(normed if asking is events else self.norm(asking)) * self.scale)
        k, v = (self._split(t) for t in self.key_value(normed).chunk(2, dim=-1))
        weights = (q @ k.transpose(-1, -2) + terms).softmax(-1)  # [H, B, Q, L]
        mixed = (weights @ v).permute(1, 2, 0, 3).flatten(2)
        x = asking + self.dropout(self.out(mixed))
        updated: Tensor = x + self.dropout(self.mlp(x))
        return updated

    def pair_weights(self) -> Tensor:
        """[H, F]: what maps pair features."""
        return self.pair_bias.weight

    def pair_terms(self, maps: Tensor) -> Tensor:
        """[H, n] mapped features -> [H, n] terms."""
        return maps

    def untrained_distances(self) -> Tensor:
        """[W, H], as initialised."""
        return torch.zeros_like(self.distance_bias)

    def _split(self, x: Tensor) -> Tensor:
        """[B, L, d] -> [H, B, L, d / H]."""
        batch, length, dim = x.shape
        return x.reshape(batch, length, self.heads, dim // self.heads).permute(2, 0, 1, 3)


class CopyHead(nn.Module):
    """How strongly a request points back at each past event."""

    def __init__(self, config: SASRecConfig, pair_features: int) -> None:
        super().__init__()
        d = config.dim
        self.terms = 1
        self.scale = 1.0 / math.sqrt(d)
        self.query = nn.Linear(d, d)
        self.key = nn.Linear(3 * d, d)
        self.pair = nn.Sequential(
            nn.Linear(pair_features, config.copy_hidden),
            nn.GELU(),
            nn.Linear(config.copy_hidden, 1, bias=False),
        )
        # Start as the decayed-frequency counter; training departs from there.
        self.distance_bias = nn.Parameter(counter_decay(config.window))

    def pair_weights(self) -> Tensor:
        """[copy_hidden, F]: what maps pair features."""
        return self.pair_layers()[0].weight

    def pair_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """What makes hidden units of pair features, and what reads them."""
        return cast(nn.Linear, self.pair[0]), cast(nn.Linear, self.pair[2])

    def pair_terms(self, maps: Tensor) -> Tensor:
        """[copy_hidden, n] mapped features -> [1, n] terms."""
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


_HOUR_FEATURES = 2 * (len(DAY_HARMONICS) + len(WEEK_HARMONICS)) + 1
_AGE_FEATURES = 1 + len(AGE_KNOTS_H)


def hour_features(hour: Tensor) -> Tensor:
    """[...] hour of week -> [..., 15]: circular day and week harmonics and a weekend flag."""
    turn = hour * (2 * math.pi / HOURS_PER_WEEK)
    angles = [7 * k * turn for k in DAY_HARMONICS] + [k * turn for k in WEEK_HARMONICS]
    waves = [wave for a in angles for wave in (torch.cos(a), torch.sin(a))]
    return torch.stack([*waves, (hour >= WEEKEND_STARTS).to(hour.dtype)], -1)


def age_features(age_h: Tensor) -> Tensor:
    """[...] hours >= 0 -> [..., 9]: log age and its bends, so that a linear map is a curve."""
    return torch.stack(_age_curve(age_h), -1)


def _age_curve(age_h: Tensor) -> list[Tensor]:
    log_age = torch.log1p(age_h)
    return [log_age, *(torch.relu(log_age - math.log1p(knot)) for knot in AGE_KNOTS_H)]
