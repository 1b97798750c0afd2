"""Encoded: the structural channel of a device at one request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.models import DeviceModels
from device_runtime.ranking.fusion import copy_bonus
from device_runtime.ranking.own_terms import RequestTerms
from device_runtime.state import cues
from device_runtime.state.features import time_features
from device_runtime.state.history import History, RequestContext, Window
from device_runtime.state.item_sets import all_true
from device_runtime.state.item_vectors import ItemVectors, semantic_part, structural_part

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Encoded:
    """What the encoder made of the window.

    Attributes:
        e_str: [d] structural embedding.
        history: [L] int32 items of the window, those without a vector left out.
        vectors: [L, d] of these items, those of the semantic channel.
        known: [W] bool, which events of the whole window they are.
        copy_logit: [L].
        copied: [m] int32 distinct items of the window, ascending.
        bonus: [m] copy bonus of each; all other items have none.
        length, density: cues of the window.
        own: what the device adds to the structural score; None where the bundle adds nothing.
    """

    e_str: Floats
    history: Items
    vectors: Floats
    known: NDArray[np.bool_]
    copy_logit: Floats
    copied: Items
    bonus: Floats
    length: float
    density: float
    own: RequestTerms | None = None

    def recent(self, delta: int) -> Floats:
        """[d] mean semantic vector of the items met in the last ``delta`` events.

        At most the window's; zeros without any whose vector is known.
        """
        met = np.count_nonzero(self.known[-delta:]) if delta else 0
        if met == 0:
            return np.zeros_like(self.e_str)
        total = np.add.reduce(self.vectors[-met:], axis=0, dtype=np.float64)
        mean: Floats = (total / met).astype(np.float32)
        return mean


def encode(
    models: DeviceModels,
    vectors: ItemVectors,
    history: History,
    context: RequestContext,
    own: RequestTerms | None = None,
) -> Encoded | None:
    """e_str(t) and copy logits (SCaLRec eq. 8); None without usable history.

    ``own`` goes along: terms that are added to whatever e_str scores.
    """
    whole = history.window()
    known = vectors.known(whole.items)
    window = whole if all_true(known) else _at(known, whole)
    if len(window) == 0:
        return None
    times = time_features(window, context, has_time=models.manifest.has_time)
    rows = vectors.of(window.items)[0]
    e_str, copy_logit = models.encode(structural_part(rows, models.dim), times)
    if not (all_true(np.isfinite(e_str)) and all_true(np.isfinite(copy_logit))):
        return None
    copied, bonus = copy_bonus(window.items, copy_logit)
    return Encoded(
        e_str=e_str,
        history=window.items,
        vectors=semantic_part(rows, models.dim),
        known=known,
        copy_logit=copy_logit,
        copied=copied,
        bonus=bonus,
        length=cues.length(len(window), models.profile.window),
        density=cues.density(times.age_hours, has_time=models.manifest.has_time),
        own=own,
    )


def _at(known: NDArray[np.bool_], window: Window) -> Window:
    return Window(window.items[known], window.time[known], window.hour[known])
