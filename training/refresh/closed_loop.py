"""What thresholds on a score amount to when devices really refresh by them.

LSC4Rec (arXiv 2501.05647, eq. 12) takes a threshold's share of requests from scores as they are.
But a refresh changes the scores that follow, so the share is measured here by letting training
users refresh: a request asks iff the score of the snapshot it holds reaches the threshold.
Some scores build up while a snapshot ages; they are built up here for whole walks at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.refresh_file import CallRates

Floats = NDArray[np.float64]
QUANTILES = (
    *(0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    *(0.75, 0.8, 0.84, 0.87, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 1.0),
)  # fmt: skip
TAIL_AGES = 8  # ages whose requests tell how it goes on beyond the oldest


def measure_call_rates(scores: Floats) -> CallRates | None:
    """Rates at QUANTILES of the scores; None if they do not differ.

    Args:
        scores: [U, S, S] of U users' S consecutive steps: of the request at step t (second axis)
            with the snapshot of step tau (third). Only tau < t is read; NaN: no such request.
    """
    later = np.tril(np.ones(scores.shape[1:], dtype=np.bool_), -1)
    known = scores[:, later]
    thresholds = np.unique(np.quantile(known[np.isfinite(known)], QUANTILES))
    if len(thresholds) < 2:
        return None
    rates = [call_rate(scores, threshold) for threshold in thresholds]
    # Sampling may turn two close ones round.
    falling = np.minimum.accumulate(rates)
    return CallRates(thresholds=tuple(thresholds.tolist()), rates=tuple(falling.tolist()))


def call_rate(scores: Floats, threshold: float) -> float:
    """Calls per request in the long run: 1 / mean time between two.

    The time between two calls is estimated from all of them, those that the last step cuts short
    too (Kaplan and Meier, 1958), and continues beyond the oldest snapshot with the hazard of the
    oldest ages.
    """
    users, steps = scores.shape[:2]
    everyone = np.arange(users)
    held = np.zeros(users, dtype=np.int64)
    at_risk, calls = np.zeros(steps), np.zeros(steps)
    for step in range(1, steps):
        score = scores[everyone, step, held]
        known = np.isfinite(score)
        age = (step - held)[known]
        asks = known & (score >= threshold)
        np.add.at(at_risk, age, 1.0)
        np.add.at(calls, (step - held)[asks], 1.0)
        held[asks] = step
    seen = np.flatnonzero(at_risk)
    if len(seen) == 0:
        return 0.0
    oldest = int(seen[-1])
    hazard = calls[1 : oldest + 1] / np.maximum(at_risk[1 : oldest + 1], 1.0)
    alive = np.concatenate([[1.0], np.cumprod(1.0 - hazard)])  # alive[k]: not called by age k
    tail = slice(max(1, oldest + 1 - TAIL_AGES), oldest + 1)
    # Count half a call more than was seen, so that the hazard is above 0 where nobody called.
    beyond = (calls[tail].sum() + 0.5) / (at_risk[tail].sum() + 0.5)
    mean_time = alive[:-1].sum() + alive[-1] / beyond
    return float(min(1.0, 1.0 / mean_time))


def accumulated(scores: Floats) -> Floats:
    """[U, S, S] as ``device_runtime.refresh.budgeted.Accumulated`` adds them up."""
    sums = np.cumsum(np.nan_to_num(scores), axis=1)
    return np.where(np.isfinite(scores), sums, np.nan)


def indexed(scores: Floats) -> Floats:
    """[U, S, S] as ``device_runtime.refresh.budgeted.RefreshIndex`` weighs them."""
    step = np.arange(scores.shape[1])
    age = step[:, None] - step[None, :]
    return (age + 1.0) * scores - accumulated(scores)
