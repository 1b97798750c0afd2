"""Response: a device's answer and everything known about how it came about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from device_runtime.ranking.encoded import Encoded

Source = Literal["snapshot", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """Cues and correction of one request; the defaults say "no snapshot".

    Attributes:
        delta: t - tau, events since the snapshot's abstract; -1 without a snapshot.
        drift, omega: cues (shared.bundle.CalibrationSpec); NaN without a snapshot or history.
        r: reliability of the snapshot in (0, 1); NaN if it was not estimated.
        alpha: strength 1 - r of the correction.
        de_norm: |de|, length of the correction; 0 if calibration is off, or the ranking
            collaborative.
        trust: factor on the fusion weight that the age rule in force sets; 1 if calibration is
            off, or the ranking collaborative.
        snapshot_version: 0 without a snapshot.
        snapshot_tau: -1 without a snapshot.
        snapshot_age_s: seconds since the cloud computed it; NaN without a snapshot.
    """

    delta: int = -1
    drift: float = math.nan
    omega: float = math.nan
    r: float = math.nan
    alpha: float = math.nan
    de_norm: float = math.nan
    trust: float = math.nan
    snapshot_version: int = 0
    snapshot_tau: int = -1
    snapshot_age_s: float = math.nan


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Response:
    """The answer to one request.

    Three rankings of the same candidates allow a fair comparison on the same request: the answer,
    the same without calibration, and the device alone. Without a snapshot all three are equal.

    Attributes:
        step: t, events known when it was made.
        items: [k] int32 item indices, best first.
        source: whether a snapshot was used.
        candidates: [n] int32 items that were ranked, ascending.
        scores: [n] float32, by which ``items`` was chosen.
        uncalibrated: [n] float32, the stale snapshot taken at face value; ``scores`` themselves
            where the ranking is collaborative.
        structural: [n] float32, the device alone: structure and, where the bundle has them, what
            it adds of its own (counts of the history, what its words say). The candidates are
            still those that a snapshot brought; ``Device.without_cloud`` does without them.
        diagnostics: cues, correction and the snapshot they belong to.
        encoded: what the device made of its history; None without any.
    """

    step: int
    items: NDArray[np.int32]
    source: Source
    candidates: NDArray[np.int32]
    scores: NDArray[np.float32]
    uncalibrated: NDArray[np.float32]
    structural: NDArray[np.float32]
    diagnostics: Diagnostics
    encoded: Encoded | None = None
