"""Ranking of one request by both channels: models and local state in, scores out (SCaLRec).

No clock, no network, no state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.models import DeviceModels
from device_runtime.ranking.calibration import bounded_correction, correction_strength
from device_runtime.ranking.candidates import Pool, best_of_table, most_popular
from device_runtime.ranking.encoded import Encoded
from device_runtime.ranking.fusion import fuse
from device_runtime.ranking.scoring import Scored, barred_items, extra_items, score, score_table
from device_runtime.state import cues
from device_runtime.state.item_sets import united
from device_runtime.state.item_vectors import ItemVectors, semantic_part
from device_runtime.state.lapse import Lapse
from shared.profile import SHORTLIST

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotCues:
    """Cues and reliability (SCaLRec eqs. 10 and 11); NaN and None without history.

    Attributes:
        drift, omega: two of the cues.
        r: reliability of the snapshot in (0, 1).
        vector: [8] float32 all cues, raw, in the order of ``cues.CUES``.
    """

    drift: float = math.nan
    omega: float = math.nan
    r: float = math.nan
    vector: NDArray[np.float32] | None = None


def snapshot_cues(
    models: DeviceModels, pool: Pool, encoded: Encoded | None, scored: Scored, lapse: Lapse
) -> SnapshotCues:
    """Read the cues and ask the estimator.

    Args:
        pool: of a snapshot.
        encoded: None without history.
        scored: all items of the pool.
        lapse: since the snapshot's moment.
    """
    if encoded is None or pool.cached is None:
        return SnapshotCues()
    omega = pool.agreement.with_scores(scored.structural.take(pool.omega_at))
    e_str_tau = pool.cached.e_str
    drift = 0.0 if e_str_tau is None else float(cues.drift(encoded.e_str, e_str_tau))
    vector = cues.cue_vector(
        delta=lapse.delta,
        drift=drift,
        omega=omega,
        length=encoded.length,
        density=encoded.density,
        elapsed=lapse.elapsed,
        turn=lapse.turn,
        moved=lapse.moved,
    )
    r = models.reliability(
        vector,
        e_sem=pool.cached.snapshot.e_sem,
        e_text=None if encoded.own is None else encoded.own.e_text,
    )
    return SnapshotCues(drift, omega, r, vector)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
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
    scored = score(vectors, pool.items, encoded)
    semantic = pool.semantic
    told = snapshot_cues(models, pool, encoded, scored, lapse)
    alpha = de_norm = math.nan
    de: Floats | None = None
    trust = 1.0
    if encoded is not None and told.vector is not None:
        alpha, de_norm = correction_strength(told.r), 0.0
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
                e_text=None if encoded.own is None else encoded.own.e_text,
                cues=told.vector,
            )
            de = bounded_correction(proposal, alpha, spec.gamma_max)
            de_norm = math.sqrt(float(de @ de))
    if pool.keep is not None:
        scored, semantic = scored.kept(pool.keep), semantic[pool.keep]
    weight = models.manifest.fusion_weight
    trusted = np.float32(weight * trust) * (e_sem if de is None else e_sem + de)
    extra = extra_items(models, scored, encoded, trusted, barred_items(models, seen), k)
    if len(extra):
        scored = score(vectors, united(scored.items, extra), encoded)
        semantic = semantic_part(scored.rows, models.dim) @ e_sem
    uncalibrated = fuse(scored.structural, semantic, weight)
    scores = uncalibrated
    if de is not None:
        correction = semantic_part(scored.rows, models.dim) @ de
        scores = fuse(scored.structural, semantic + correction, weight * trust)
    elif trust != 1.0:
        scores = fuse(scored.structural, semantic, weight * trust)
    return Ranking(
        items=scored.items,
        scores=scores,
        uncalibrated=uncalibrated,
        structural=scored.structural,
        drift=told.drift,
        omega=told.omega,
        r=told.r,
        alpha=alpha,
        de_norm=de_norm,
        trust=trust,
        cues=told.vector,
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
    """Without a snapshot: own history and a local shortlist by the device's own score.

    The shortlist is the best of the item table; without a table, the popular items that came with
    the models. Without history: popularity.
    """
    barred = barred_items(models, seen)
    count = max(k, models.profile.local_candidates or SHORTLIST)
    if encoded is None:
        popular, counts = most_popular(models, count, barred)
        order = np.argsort(popular)
        items, scores = popular[order], counts[order]
        return Ranking(items=items, scores=scores, uncalibrated=scores, structural=scores)
    if models.table is not None:
        shortlist = best_of_table(score_table(models.table, encoded), count, barred)
    else:
        shortlist, _ = most_popular(models, count, barred)
    items = united(pool.items, shortlist)
    scores = score(vectors, items, encoded).structural
    return Ranking(items=items, scores=scores, uncalibrated=scores, structural=scores)
