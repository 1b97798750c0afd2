"""Edges: which edge server each user trains with.

PREFER (Guo et al., IMWUT 2021) joins users who are near each other. A log has no coordinates: users
are near by the locality that most of their events are in, in words, or, where items have none, by
what the texts of their items say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.backbone.batches import Events
from training.generative.item_codes import kmeans

Edges = NDArray[np.int64]


def by_locality(events: Events, areas: Sequence[str], count: int) -> Edges:
    """[U] edge of each user; ``count`` at most, the localities that lead most users' events.

    Who leads none of them joins that of these where most of their events are, or the largest.

    Args:
        areas: [I] locality of each item, "" where there is none.
    """
    names, place = np.unique(np.asarray(areas), return_inverse=True)
    visits = np.zeros((len(events.user_start) - 1, len(names)), dtype=np.int64)
    user = np.repeat(np.arange(len(visits)), np.diff(events.user_start))
    np.add.at(visits, (user, place[events.item]), 1)
    visits[:, names == ""] = 0
    told = visits.sum(1) > 0
    leads = np.bincount(visits[told].argmax(1), minlength=len(names))
    chosen = np.argsort(-leads, kind="stable")[:count]
    chosen = chosen[leads[chosen] > 0]
    if not len(chosen):
        return np.zeros(len(visits), dtype=np.int64)
    among = visits[:, chosen]
    return np.where(among.sum(1) > 0, among.argmax(1), 0).astype(np.int64)


def by_taste(events: Events, vectors: NDArray[np.floating], count: int, seed: int) -> Edges:
    """[U] edge of each user by k-means of the mean text vectors of their items.

    Args:
        vectors: [I, m] of item texts.
    """
    size = np.diff(events.user_start)
    user = np.repeat(np.arange(len(size)), size)
    means = np.zeros((len(size), vectors.shape[1]))
    np.add.at(means, user, vectors[events.item].astype(np.float64))
    means /= np.maximum(size, 1)[:, None]
    return kmeans(means, count, np.random.default_rng(seed))[1]
