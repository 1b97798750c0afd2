"""What relative time and distance in events add to the logits of an encoder's readers.

A reader is a part of an encoder that weighs past events for a request: attention, the copy head.
All readers share one set of pair features, mapped in one product.

Shapes: B batch, L events, Q queries, F pair features, C terms (of all readers together).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from training.encoders.pair_maps import pair_maps
from training.encoders.pairs import FUTURE, CausalPairs
from training.encoders.return_mechanism import CopyHead
from training.encoders.time_features import PairFeatures

Moments = tuple[Tensor, Tensor, Tensor, Tensor]  # age and hour of events and of their queries


class PairReader(Protocol):
    """What a reader of pair terms must tell."""

    terms: int
    distance_bias: nn.Parameter  # [W, terms]

    def pair_weights(self) -> Tensor:
        """[h, F]: what maps pair features."""
        ...

    def pair_terms(self, maps: Tensor) -> Tensor:
        """[h, n] mapped features -> [terms, n]."""
        ...

    def untrained_distances(self) -> Tensor:
        """[W, terms], as initialised."""
        ...


class LinearPairReader(nn.Module):
    """A reader whose terms, one per head, are linear in the features; subclasses make the parts."""

    terms: int
    pair_bias: nn.Linear
    distance_bias: nn.Parameter

    def pair_weights(self) -> Tensor:
        """[H, F]: what maps pair features."""
        return self.pair_bias.weight

    def pair_terms(self, maps: Tensor) -> Tensor:
        """[H, n] mapped features -> [H, n] terms."""
        return maps

    def untrained_distances(self) -> Tensor:
        """[W, H], as initialised."""
        return torch.zeros_like(self.distance_bias)


def moments_of(age_hours: Tensor, event_hour: Tensor, request_hour: Tensor) -> Moments:
    """[B, L] each: age and hour of every event, and of the request that follows it.

    The request's own moment is age 0; shifting by one gives every event its next moment.
    """
    query_age = torch.cat([age_hours, torch.zeros_like(age_hours[:, :1])], 1)[:, 1:]
    query_hour = torch.cat([event_hour, request_hour[:, None]], 1)[:, 1:]
    return age_hours, event_hour, query_age, query_hour


def pair_terms(
    pairs: PairFeatures,
    readers: Sequence[PairReader],
    moments: Moments,
    *,
    last_only: bool,
    lower: int = 0,
) -> list[Tensor]:
    """Terms of each reader, [terms, B, L, L], FUTURE for events after the query.

    With ``last_only`` those after the first ``lower`` readers answer the last request alone:
    theirs are [terms, B, 1, L].
    """
    if last_only:
        return _at_the_end(pairs, readers, moments, lower)
    return _at_every_place(pairs, readers, moments)


def _at_every_place(
    pairs: PairFeatures, readers: Sequence[PairReader], moments: Moments
) -> list[Tensor]:
    # No gradient reaches the features, and half of all pairs lies in the future: the
    # others alone are computed, packed, for all readers in one product.
    causal = CausalPairs(moments[0].shape[1])
    features = pairs.packed(*causal.pack(*moments))  # [F, B, P]
    terms = _of_features(readers, features, in_pieces=True)
    square = causal.unpack(terms, _of_distance(readers, causal.distance))
    return list(torch.split(square, [r.terms for r in readers]))


def _at_the_end(
    pairs: PairFeatures, readers: Sequence[PairReader], moments: Moments, lower: int
) -> list[Tensor]:
    # What devices compute: unlike the packed pairs of training it can be exported.
    age, hour, query_age, query_hour = moments
    step = torch.arange(age.shape[1], device=age.device)
    distance = step[:, None] - step[None, :]
    features = pairs(
        age[:, None, :], hour[:, None, :], query_age[:, :, None], query_hour[:, :, None]
    )  # [F, B, L, L]
    found: list[Tensor] = []
    if lower:
        terms = _terms(readers[:lower], features, distance).masked_fill(distance < 0, FUTURE)
        found += torch.split(terms, [r.terms for r in readers[:lower]])
    terms = _terms(readers[lower:], features[:, :, -1:], distance[-1:])
    return [*found, *torch.split(terms, [r.terms for r in readers[lower:]])]


def _terms(readers: Sequence[PairReader], features: Tensor, distance: Tensor) -> Tensor:
    """features [F, B, ...], distance [...] in events -> [C, B, ...], terms of all readers."""
    return _of_features(readers, features) + _of_distance(readers, distance)[:, None]


def _of_features(
    readers: Sequence[PairReader], features: Tensor, *, in_pieces: bool = False
) -> Tensor:
    """features [F, B, ...] -> [C, B, ...].

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
    return terms.reshape(-1, *features.shape[1:])


def _of_distance(readers: Sequence[PairReader], distance: Tensor) -> Tensor:
    """distance [...] in events -> [C, ...]."""
    tables = torch.cat([reader.distance_bias for reader in readers], 1)  # [W, C]
    return nn.functional.embedding(distance.clamp(min=0), tables).movedim(-1, 0)
