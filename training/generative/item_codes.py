"""Item tokens from item texts, or at random: never from interactions.

A number that follows the order in which items were met tells a model which items belong together,
those of the test set too (Hua et al., SIGIR-AP 2023). Here an item's tokens depend on its text,
its id and the seed alone: items are put into the order of a hash first, so that not even the order
of the catalogue, which in many sources is that of the interactions, has a part in them.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from shared.interactions import Catalogue
from shared.item_tokens import ItemTokens

ROUNDS = 25  # of k-means at most


def text_tokens(
    catalogue: Catalogue,
    embeddings: NDArray[np.float32],
    *,
    levels: int,
    codes: int,
    seed: int = 0,
) -> ItemTokens:
    """Codes by residual k-means over text embeddings [I, m], and one that tells equals apart.

    Each level clusters what the levels before left over (residual quantisation, as in TIGER,
    Rajput et al., NeurIPS 2023); the last place counts the items that share all codes, in the
    order of their hashes.
    """
    order = hashed_order(catalogue, seed)
    rest = embeddings[order].astype(np.float64)
    rng = np.random.default_rng(seed)
    columns = []
    for _ in range(levels):
        centres, own = kmeans(rest, codes, rng)
        columns.append(own)
        rest = rest - centres[own]
    columns.append(_place_among_equals(np.stack(columns, axis=1)))
    return _tokens(np.stack(columns, axis=1), order)


def kmeans(
    points: NDArray[np.float64], k: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Lloyd's: centres [k, m] and the centre of each point [n]; k falls to n of fewer points.

    Starts from k points drawn without replacement. A centre that loses all its points moves to
    the point farthest from its own centre; scipy's kmeans2 would leave it, and its code unused.
    """
    k = min(k, len(points))
    centres = points[rng.choice(len(points), k, replace=False)].copy()
    own = np.zeros(len(points), dtype=np.int64)
    for _ in range(ROUNDS):
        # |p - c|^2 without |p|^2, which no choice of c changes.
        distance = (centres**2).sum(1) - 2.0 * points @ centres.T
        nearest = distance.argmin(1)
        if np.array_equal(nearest, own) and _ > 0:
            break
        own = nearest
        counts = np.bincount(own, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, own, points)
        filled = counts > 0
        centres[filled] = sums[filled] / counts[filled, None]
        empty = np.flatnonzero(~filled)
        if len(empty):
            apart = distance[np.arange(len(points)), own] + (points**2).sum(1)
            centres[empty] = points[np.argsort(-apart, kind="stable")[: len(empty)]]
    return centres, own


def random_tokens(catalogue: Catalogue, *, levels: int, seed: int = 0) -> ItemTokens:
    """As many places as ``text_tokens``, filled with the digits of the items' hashed order."""
    order = hashed_order(catalogue, seed)
    places = levels + 1
    base = max(2, math.ceil(len(order) ** (1.0 / places)))
    while base**places < len(order):  # the root may have been rounded down
        base += 1
    rank = np.arange(len(order))
    digits = [(rank // base**place) % base for place in range(places)]
    return _tokens(np.stack(digits, axis=1), order)


def hashed_order(catalogue: Catalogue, seed: int) -> NDArray[np.int64]:
    """[I] items in the order of hashes over seed, text and id."""
    keys = [
        hashlib.blake2b(f"{seed}\0{text}\0{name}".encode("utf-8", "surrogatepass")).digest()
        for name, text in zip(catalogue.ids, catalogue.texts, strict=True)
    ]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _place_among_equals(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[I] how many rows before each one equal it."""
    _, group = np.unique(codes, axis=0, return_inverse=True)
    group = group.reshape(-1)
    by_group = np.argsort(group, kind="stable")
    first = np.searchsorted(group[by_group], group[by_group])
    place = np.empty(len(codes), dtype=np.int64)
    place[by_group] = np.arange(len(codes)) - first
    return place


def _tokens(codes: NDArray[np.int64], order: NDArray[np.int64]) -> ItemTokens:
    unordered = np.empty(codes.shape, dtype=np.int32)
    unordered[order] = codes
    return ItemTokens(unordered, tuple(int(top) + 1 for top in codes.max(axis=0)))
