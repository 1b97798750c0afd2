"""The counters that any model has to beat, on the study's requests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.metrics import NOT_RANKED, RANK, Rank, Ranks, rank_of
from training.collaboration.asked import Asked

Floats = NDArray[np.float64]


def decayed_scores(asked: Asked, items: NDArray[np.integer], half_life: float) -> Floats:
    """[R, n] how often each user had each of ``items``, halved every ``half_life`` events."""
    scores = np.empty(items.shape)
    for row, history in enumerate(asked.known_at(0)):
        weight = _weights(len(history), half_life)
        scores[row] = (items[row][:, None] == history) @ weight
    return scores


def decayed_ranks(asked: Asked, n_items: int, half_life: float) -> Ranks:
    """[R] ranks of the targets among all items, by the decayed counter."""
    ranks = np.empty(len(asked), RANK)
    for row, (history, target) in enumerate(zip(asked.known_at(0), asked.target, strict=True)):
        weights = _weights(len(history), half_life)
        scores = np.bincount(history, weights, minlength=n_items).astype(np.float64)
        ranks[row] = _rank(scores, int(target))
    return ranks


def full_popularity_ranks(
    asked: Asked, popularity: NDArray[np.floating], *, exclude_seen: bool
) -> Ranks:
    """[R] ranks of the targets among all items that may be recommended."""
    ranks = np.empty(len(asked), RANK)
    counts = popularity.astype(np.float64)
    for row, (history, target) in enumerate(zip(asked.known_at(0), asked.target, strict=True)):
        scores = counts
        if exclude_seen:
            scores = counts.copy()
            scores[history] = -np.inf
        ranks[row] = _rank(scores, int(target))
    return ranks


def _weights(length: int, half_life: float) -> Floats:
    return np.exp2(-np.arange(length)[::-1] / half_life)


def _rank(scores: Floats, target: int) -> Rank:
    return NOT_RANKED if np.isneginf(scores[target]) else rank_of(scores, target)
