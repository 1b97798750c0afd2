"""The device's own scores, and the items beyond a pool that it ranks besides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.models import DeviceModels
from device_runtime.ranking.candidates import best_of_table, most_popular
from device_runtime.ranking.encoded import Encoded
from device_runtime.ranking.fusion import structural_scores
from device_runtime.state.item_sets import add_at
from device_runtime.state.item_vectors import ItemTable, ItemVectors, structural_part

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Items [n], ascending, with their rows [n, k * d] and own scores [n]."""

    items: Items
    rows: Floats
    structural: Floats

    def kept(self, keep: NDArray[np.bool_]) -> Scored:
        return Scored(self.items[keep], self.rows[keep], self.structural[keep])


def score(known: ItemVectors, items: Items, encoded: Encoded | None) -> Scored:
    """Own scores of ``items`` [n], ascending: by structure, with the terms that the bundle adds to
    it; their bias alone without history."""
    rows, bias = known.of(items)
    if encoded is None:
        return Scored(items, rows, bias)
    vectors = structural_part(rows, len(encoded.e_str))
    structural = structural_scores(vectors, bias, encoded.e_str)
    add_at(structural, items, encoded.copied, encoded.bonus)
    if encoded.own is not None:
        encoded.own.add_to(structural, items, rows)
    return Scored(items, rows, structural)


def score_table(
    table: ItemTable, encoded: Encoded | None, weighted_e_sem: Floats | None = None
) -> Floats:
    """[I] own scores of all items, or those of both channels given w * e_sem [d]."""
    if encoded is None and weighted_e_sem is None:
        return table.bias
    e_str, semantic = (None if encoded is None else encoded.e_str), weighted_e_sem
    if encoded is not None and encoded.own is not None and encoded.own.query is not None:
        text = encoded.own.query
        semantic = text if semantic is None else semantic + text
    scores = table.products(e_str, semantic)
    scores += table.bias
    if encoded is not None:
        scores[encoded.copied] += encoded.bonus
        if encoded.own is not None:
            scores[encoded.own.items] += encoded.own.bonus
    return scores


def extra_items(
    models: DeviceModels,
    scored: Scored,
    encoded: Encoded | None,
    weighted: Floats | None,
    barred: Items,
    k: int,
) -> Items:
    """Items beside the pool: re-retrieved from the table (see the profile), or to fill the answer.

    Args:
        scored: the pool's items that may be answered.
        weighted: [d] the corrected and weighted e_sem; None re-retrieves by structure alone.
        barred: items that may not be recommended again.
        k: items wanted.
    """
    wanted = models.profile.local_candidates
    short = len(scored.items) < k
    if models.table is not None and (wanted or short):
        fused = score_table(models.table, encoded, weighted)
        return best_of_table(fused, max(wanted, k if short else 0), barred)
    return most_popular(models, k, barred)[0] if short else scored.items[:0]


def barred_items(models: DeviceModels, seen: Items) -> Items:
    """Items that may not be recommended again."""
    return seen if models.manifest.repeat_policy == "exclude" else seen[:0]
