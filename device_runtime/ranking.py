"""Ranking of one request: models and local state in, scores out. No clock, no network, no state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime import cues
from device_runtime.calibration import bounded_correction, correction_strength
from device_runtime.candidates import SHORTLIST, Pool, best_of_table, most_popular
from device_runtime.features import time_features
from device_runtime.history import History, RequestContext, Window
from device_runtime.item_table import ItemTable
from device_runtime.item_vectors import ItemVectors
from device_runtime.lapse import Lapse
from device_runtime.models import DeviceModels
from device_runtime.reranker import copy_bonus, fuse, structural_scores

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The structural channel at one request.

    Attributes:
        e_str: [d] structural embedding.
        history: [L] int32 items of the window, those without a vector left out.
        vectors: [L, d] of these items.
        known: [W] bool, which events of the whole window they are.
        copy_logit: [L].
        length, density: cues of the window.
    """

    e_str: Floats
    history: Items
    vectors: Floats
    known: NDArray[np.bool_]
    copy_logit: Floats
    length: float
    density: float

    def recent(self, delta: int) -> Floats:
        """[d] mean vector of the items met in the last ``delta`` events, at most the window's.

        Zeros without any whose vector is known.
        """
        met = np.count_nonzero(self.known[-delta:]) if delta else 0
        if met == 0:
            return np.zeros_like(self.e_str)
        total = np.add.reduce(self.vectors[-met:], axis=0, dtype=np.float64)
        mean: Floats = (total / met).astype(np.float32)
        return mean


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Scores [n] of ``items`` [n], ascending by item; what calibration did, NaN where it did not.

    ``scores`` decide the answer, ``uncalibrated`` take the stale snapshot at face value,
    ``structural`` are the device's alone. ``trust`` is the factor on the fusion weight in them;
    ``cues`` [8] raw, None without a snapshot or history.
    """

    items: Items
    scores: Floats
    uncalibrated: Floats
    structural: Floats
    drift: float = math.nan
    omega: float = math.nan
    r: float = math.nan
    alpha: float = math.nan
    de_norm: float = math.nan
    trust: float = math.nan
    cues: Floats | None = None


def encode(
    models: DeviceModels, vectors: ItemVectors, history: History, context: RequestContext
) -> Encoded | None:
    """e_str(t) and copy logits (SCaLRec eq. 8); None without usable history."""
    whole = history.window()
    known = vectors.known(whole.items)
    window = whole if known.all() else _at(known, whole)
    if len(window) == 0:
        return None
    times = time_features(window, context, has_time=models.manifest.has_time)
    item_vectors = vectors.of(window.items)[0]
    e_str, copy_logit = models.encode(item_vectors, times)
    if not (np.isfinite(e_str).all() and np.isfinite(copy_logit).all()):
        return None
    return Encoded(
        e_str,
        window.items,
        item_vectors,
        known,
        copy_logit,
        cues.length(len(window), models.profile.window),
        cues.density(times.age_hours, has_time=models.manifest.has_time),
    )


def _at(known: NDArray[np.bool_], window: Window) -> Window:
    return Window(window.items[known], window.time[known], window.hour[known])


def rank_with_snapshot(
    models: DeviceModels,
    vectors: ItemVectors,
    pool: Pool,
    encoded: Encoded | None,
    seen: Items,
    *,
    lapse: Lapse,
    k: int,
    calibrate: bool,
) -> Ranking:
    """Cues -> r -> bounded correction -> fused scores (SCaLRec eqs. 10-14), under the age rules.

    Args:
        vectors: what the device knows of items.
        pool: candidates of a snapshot, from ``build_pool``.
        encoded: None without history: bias and semantics then rank alone, uncorrected.
        seen: [m] int32 distinct own items, ascending.
        lapse: since the snapshot's moment.
        k: items wanted; too few candidates are filled up from the device's own knowledge.
        calibrate: whether correction and age rules are applied; the cues and r are reported
            either way.
    """
    cached = pool.cached
    if cached is None:
        raise ValueError("the pool was built without a snapshot")
    e_sem = cached.snapshot.e_sem
    scored = _score(vectors, pool.items, encoded)
    semantic = pool.semantic
    drift = omega = r = alpha = de_norm = math.nan
    de: Floats | None = None
    cue_vector: Floats | None = None
    trust = 1.0
    if encoded is not None:
        omega = pool.agreement.with_scores(scored.structural.take(pool.omega_at))
        drift = 0.0 if cached.e_str is None else float(cues.drift(encoded.e_str, cached.e_str))
        cue_vector = cues.cue_vector(
            delta=lapse.delta,
            drift=drift,
            omega=omega,
            length=encoded.length,
            density=encoded.density,
            elapsed=lapse.elapsed,
            turn=lapse.turn,
            moved=lapse.moved,
        )
        r = models.reliability(cue_vector)
        alpha, de_norm = correction_strength(r), 0.0
        spec = models.manifest.calibration
        correct = False
        if calibrate:
            trust, correct = spec.rule_at(lapse.delta).at(lapse.moved)
        if correct and trust * alpha * spec.gamma_max > 0.0:
            recent = encoded.recent(lapse.delta) if "recent" in models.proposes_from else None
            proposal = models.propose(
                e_sem=e_sem,
                e_str=encoded.e_str,
                e_str_tau=cached.e_str,
                recent=recent,
                cues=cue_vector,
            )
            de = bounded_correction(proposal, alpha, spec.gamma_max)
            de_norm = math.sqrt(float(de @ de))
    if pool.keep is not None:
        scored, semantic = scored.kept(pool.keep), semantic[pool.keep]
    weight = models.manifest.fusion_weight
    trusted = np.float32(weight * trust) * (e_sem if de is None else e_sem + de)
    extra = _extra_items(models, scored, encoded, trusted, _barred(models, seen), k)
    if len(extra):
        scored = _score(vectors, np.union1d(scored.items, extra), encoded)
        semantic = scored.vectors @ e_sem
    uncalibrated = fuse(scored.structural, semantic, weight)
    scores = uncalibrated
    if de is not None:
        scores = fuse(scored.structural, semantic + scored.vectors @ de, weight * trust)
    elif trust != 1.0:
        scores = fuse(scored.structural, semantic, weight * trust)
    return Ranking(
        scored.items,
        scores,
        uncalibrated,
        scored.structural,
        drift,
        omega,
        r,
        alpha,
        de_norm,
        trust,
        cue_vector,
    )


def rank_locally(
    models: DeviceModels,
    vectors: ItemVectors,
    pool: Pool,
    encoded: Encoded | None,
    seen: Items,
    *,
    k: int,
) -> Ranking:
    """Without a snapshot: own history and a local shortlist by structural score.

    The shortlist is the best of the item table; without a table, the popular items that came with
    the models. Without history: popularity.
    """
    barred = _barred(models, seen)
    count = max(k, models.profile.local_candidates or SHORTLIST)
    if encoded is None:
        popular, counts = most_popular(models, count, barred)
        order = np.argsort(popular)
        items, scores = popular[order], counts[order]
        return Ranking(items, scores, scores, scores)
    if models.table is not None:
        shortlist = best_of_table(_score_table(models.table, encoded), count, barred)
    else:
        shortlist, _ = most_popular(models, count, barred)
    items = np.union1d(pool.items, shortlist)
    scores = _score(vectors, items, encoded).structural
    return Ranking(items, scores, scores, scores)


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    items: Items
    vectors: Floats
    structural: Floats

    def kept(self, keep: NDArray[np.bool_]) -> _Scored:
        return _Scored(self.items[keep], self.vectors[keep], self.structural[keep])


def _score(known: ItemVectors, items: Items, encoded: Encoded | None) -> _Scored:
    """Structural scores of ``items`` [n], ascending; their bias alone without history."""
    vectors, bias = known.of(items)
    if encoded is None:
        return _Scored(items, vectors, bias)
    bonus = copy_bonus(items, encoded.history, encoded.copy_logit)
    return _Scored(items, vectors, structural_scores(vectors, bias, encoded.e_str, bonus))


def _score_table(
    table: ItemTable, encoded: Encoded | None, weighted_e_sem: Floats | None = None
) -> Floats:
    """[I] scores of all items by structure, or by both channels given w * e_sem: one product."""
    if encoded is None:
        query = weighted_e_sem
    else:
        query = encoded.e_str if weighted_e_sem is None else encoded.e_str + weighted_e_sem
    if query is None:
        return table.bias
    scores = table.products(query) + table.bias
    if encoded is not None:
        # Few items are in the history: the bonus of all others is zero.
        own = np.unique(encoded.history)
        scores[own] += copy_bonus(own, encoded.history, encoded.copy_logit)
    return scores


def _extra_items(
    models: DeviceModels,
    scored: _Scored,
    encoded: Encoded | None,
    weighted: Floats,
    barred: Items,
    k: int,
) -> Items:
    """Items beside the pool: re-retrieved with the corrected and weighted e_sem [d], or to fill
    the answer."""
    wanted = models.profile.local_candidates
    short = len(scored.items) < k
    if models.table is not None and (wanted or short):
        fused = _score_table(models.table, encoded, weighted)
        return best_of_table(fused, max(wanted, k if short else 0), barred)
    return most_popular(models, k, barred)[0] if short else scored.items[:0]


def _barred(models: DeviceModels, seen: Items) -> Items:
    """Items that may not be recommended again."""
    return seen if models.manifest.repeat_policy == "exclude" else seen[:0]
