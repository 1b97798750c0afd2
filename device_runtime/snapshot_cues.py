"""SnapshotCues: what a device can tell about its snapshot at one request, however it ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime import cues
from device_runtime.candidates import Pool
from device_runtime.encoded import Encoded
from device_runtime.lapse import Lapse
from device_runtime.models import DeviceModels
from device_runtime.scoring import Scored


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
    return SnapshotCues(drift, omega, models.reliability(vector), vector)
