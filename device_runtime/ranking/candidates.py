"""The items a device ranks: the snapshot's candidates, its own history, a local shortlist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.models import DeviceModels
from device_runtime.ranking.fusion import top_k
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.cues import Agreement, semantic_top
from device_runtime.state.item_sets import among, distinct, united
from device_runtime.state.item_vectors import ItemVectors, semantic_part

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pool:
    """What one device can rank until it meets a new item or gets a new snapshot.

    Attributes:
        cached: the snapshot it was built from, or None.
        items: [n] int32, strictly ascending, seen items included (omega needs them).
        semantic: [n] float32 <e_sem(tau), v'_i>; zeros without a snapshot.
        omega_at: [<= L] positions in ``items`` of the cached candidates that omega compares.
        agreement: their omega, given their structural scores.
        keep: [n] bool, False for seen items that may not be recommended again; None keeps all.
    """

    cached: CachedSnapshot | None
    items: Items
    semantic: Floats
    omega_at: NDArray[np.intp]
    agreement: Agreement
    keep: NDArray[np.bool_] | None


def build_pool(
    models: DeviceModels,
    vectors: ItemVectors,
    cached: CachedSnapshot | None,
    seen: Items,
    *,
    starters: bool = True,
) -> Pool:
    """Unite a snapshot's candidates with what the device itself knows, as the profile says.

    That is its own history, where repeats are allowed, and without an item table the popular items
    that came with the models: without them a device with an old snapshot would have fewer good
    items to choose from than one that never had any.

    Args:
        models: the bundle's models and manifest.
        vectors: what the device knows, the snapshot's candidates among it; own items without a
            vector cannot be ranked and are left out.
        cached: the snapshot in force, if any.
        seen: [m] int32 distinct items of the own history, ascending.
        starters: whether items that came with the models may be united.
    """
    exclude = models.manifest.repeat_policy == "exclude"
    unite = not exclude and (cached is None or models.profile.unite_history)
    own = seen[vectors.known(seen)] if unite else seen[:0]
    if cached is None:
        empty = np.empty(0, dtype=np.intp)
        zeros = np.zeros(len(own), dtype=np.float32)
        return Pool(
            cached=None,
            items=own,
            semantic=zeros,
            omega_at=empty,
            agreement=Agreement(zeros[:0]),
            keep=None,
        )
    snapshot = cached.snapshot
    offered = distinct(snapshot.items)
    items = united(offered, own) if len(own) else offered
    if starters and models.starter is not None and models.profile.unite_history:
        items = united(items, models.popular)
    semantic = semantic_part(vectors.of(items)[0], models.dim) @ snapshot.e_sem
    at = items.searchsorted(offered)
    at = at[semantic_top(semantic[at], models.manifest.calibration.top_l)]
    keep = ~among(items, seen) if exclude and len(seen) else None
    return Pool(
        cached=cached,
        items=items,
        semantic=semantic,
        omega_at=at,
        agreement=Agreement(semantic[at]),
        keep=keep,
    )


def best_of_table(scores: Floats, count: int, barred: Items) -> Items:
    """[<= count] int32 items with the best scores [I], without those ``barred``; best first."""
    best = top_k(scores, count + len(barred)).astype(np.int32)
    return best[~among(best, barred)][:count] if len(barred) else best


def most_popular(models: DeviceModels, count: int, barred: Items) -> tuple[Items, Floats]:
    """[<= count] int32 items most popular in training, without those ``barred``, best first; and
    their counts."""
    first = slice(count + len(barred))
    best, counts = models.popular[first], models.popular_count[first]
    if len(barred):
        allowed = ~among(best, barred)
        best, counts = best[allowed], counts[allowed]
    return best[:count], counts[:count]
