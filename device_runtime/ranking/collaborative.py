"""Collaborative inference: the cloud's initial ranking and the device's own, fused (LSC4Rec).

Equations 8-10 of arXiv 2501.05647. The cloud sends candidates S with scores P_init, which a
generative model made from an older history; the device scores the same candidates from the present
one, P_rerank. Both are min-max normalised over S, what may not be recommended is filtered out, and

    P = alpha * P_init + (1 - alpha) * P_rerank.

e_sem takes no part, so whatever made the list, a generator or retrieval, ranks by its own scores.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from device_runtime.models import DeviceModels
from device_runtime.ranking.calibration import correction_strength
from device_runtime.ranking.candidates import Pool
from device_runtime.ranking.encoded import Encoded
from device_runtime.ranking.list_fusion import fused, unlisted
from device_runtime.ranking.scoring import Scored, barred_items, extra_items, score
from device_runtime.ranking.semantic import Ranking, snapshot_cues
from device_runtime.ranking.transitions import Transitions
from device_runtime.state.item_sets import united
from device_runtime.state.item_vectors import ItemVectors, structural_part
from device_runtime.state.lapse import Lapse

Floats = NDArray[np.float64]
Items = NDArray[np.int32]


def rank_collaboratively(
    models: DeviceModels,
    vectors: ItemVectors,
    pool: Pool,
    encoded: Encoded | None,
    seen: Items,
    *,
    lapse: Lapse,
    k: int,
    transitions: Transitions,
) -> Ranking:
    """P = alpha * P_init + (1 - alpha) * P_rerank of the snapshot's candidates, and of all beside.

    What is ranked is what ``rank_with_snapshot`` ranks: the candidates; own history, where the
    profile unites them (returns are then ranked too); items of the local table, where it
    re-retrieves; and the device's own knowledge where candidates are too few for ``k``. Items that
    a repeat policy bars are left out, after they have counted for the normalisation. See
    ``unlisted`` for the score of what is not on the cloud's list; re-retrieval is by structural
    score, which orders such items as P does.

    The device's own model is its structural one: alpha was chosen for that, so counts of the own
    history and words take no part. The cues alone are of the own score that the estimator was
    fitted to.

    There is nothing to calibrate in these scores: ``uncalibrated`` equals ``scores``. Cues, r and
    ``structural`` are of the model as it was trained, because refresh policies go by them: what
    the device taught itself (eq. 7) moves P_rerank alone.

    Args:
        vectors: what the device knows of items.
        pool: candidates of a snapshot, from ``build_pool``.
        encoded: None without history: the items' biases then stand for the device's scores.
        seen: [m] int32 distinct own items, ascending.
        lapse: since the snapshot's moment.
        k: items wanted.
        transitions: the device's real-time data, with alpha and the rate of re-training.

    Raises:
        ValueError: the pool has no snapshot.
    """
    if pool.cached is None:
        raise ValueError("the pool was built without a snapshot")
    snapshot = pool.cached.snapshot
    told = snapshot_cues(models, pool, encoded, score(vectors, pool.items, encoded), lapse)
    if encoded is not None:
        encoded = replace(encoded, own=None)
    scored = score(vectors, pool.items, encoded)
    # An item may stand on the list several times: its first and best place counts.
    listed, first = np.unique(snapshot.items, return_index=True)
    initial, alpha = snapshot.scores[first], transitions.spec.initial_share
    shift = None
    if encoded is not None:
        shift = transitions.shift(encoded.e_str, vectors, listed)
    rerank = _moved(scored, shift)[np.searchsorted(pool.items, listed)]
    if pool.keep is not None:
        scored = scored.kept(pool.keep)
    extra = extra_items(models, scored, encoded, None, barred_items(models, seen), k)
    if len(extra):
        scored = score(vectors, united(scored.items, extra), encoded)
    scores = unlisted(_moved(scored, shift), rerank, alpha).astype(np.float32)
    if len(listed):
        place = np.minimum(np.searchsorted(listed, scored.items), len(listed) - 1)
        on_list = listed[place] == scored.items
        scores[on_list] = fused(initial, rerank, alpha)[place[on_list]]
    known = encoded is not None
    return Ranking(
        items=scored.items,
        scores=scores,
        uncalibrated=scores,
        structural=scored.structural,
        drift=told.drift,
        omega=told.omega,
        r=told.r,
        alpha=correction_strength(told.r) if known else math.nan,
        de_norm=0.0 if known else math.nan,
        trust=1.0,
        cues=told.vector,
    )


def _moved(scored: Scored, shift: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """[n] structural scores with ``shift`` [d] added to e_str."""
    if shift is None:
        return scored.structural
    moved: NDArray[np.float32] = (
        scored.structural + structural_part(scored.rows, len(shift)) @ shift
    )
    return moved
