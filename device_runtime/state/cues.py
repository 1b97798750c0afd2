"""The cues of SCaLRec (arXiv 2601.22543): what a device knows about its snapshot's reliability.

All are pure functions; those of scores work along the last axis, so that training can call them
on whole batches. Order of the cue vector: CUES, as in the manifest's calibration spec.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device_runtime.state.item_sets import all_true

PAPER_CUES = ("delta", "drift", "omega", "length", "density")
CUES = (*PAPER_CUES, "elapsed", "turn", "moved")
HOURS_PER_DAY = 24.0
BREAK_HOURS = 6.0  # without events for this long, a user's next request begins a new session
SHOWN = 10  # first places of a ranking: what an answer is judged by
MIN_SPAN_HOURS = 1.0  # a burst of events within the hour must not give an unbounded density


def cue_vector(
    *,
    delta: int,
    drift: float,
    omega: float,
    length: float,
    density: float,
    elapsed: float,
    turn: float,
    moved: float,
) -> NDArray[np.float32]:
    """[8] float32 in the order of CUES."""
    return np.array([delta, drift, omega, length, density, elapsed, turn, moved], dtype=np.float32)


def drift(e_str: ArrayLike, e_str_tau: ArrayLike) -> NDArray[np.float64]:
    """|e_str(t) - e_str(tau)| along the last axis: [..., d], [..., d] -> [...]."""
    difference = np.asarray(e_str, dtype=np.float64) - np.asarray(e_str_tau, dtype=np.float64)
    difference *= difference
    distance: NDArray[np.float64] = np.sqrt(np.add.reduce(difference, axis=-1))
    return distance


def length(n_events: int, window: int) -> float:
    """log(1 + number of events known), capped by the encoder's window."""
    return math.log1p(min(n_events, window))


def density(age_hours: NDArray[np.float32], *, has_time: bool) -> float:
    """log(1 + events per day) from the oldest event of the window to the request.

    Args:
        age_hours: [L] hours from each event to the request, oldest first.
        has_time: without times the density is 0.
    """
    if not has_time or len(age_hours) == 0:
        return 0.0
    days = max(float(age_hours[0]), MIN_SPAN_HOURS) / HOURS_PER_DAY
    return math.log1p(len(age_hours) / days)


def elapsed(hours: ArrayLike) -> NDArray[np.float64]:
    """log(1 + hours from the snapshot's moment to the request); 0 without times."""
    return np.log1p(np.maximum(np.asarray(hours, dtype=np.float64), 0.0))


def turn(hour: ArrayLike, hour_tau: ArrayLike) -> NDArray[np.float64]:
    """How far the time of day has turned since the snapshot's moment: 0 the same, 1 opposite.

    Args:
        hour, hour_tau: local hours of the week or of the day, of the request and of the snapshot.
    """
    angle = (np.asarray(hour, np.float64) - np.asarray(hour_tau, np.float64)) * (math.pi / 12.0)
    opposite: NDArray[np.float64] = (1.0 - np.cos(angle)) / 2.0
    return opposite


def moved(delta: ArrayLike, session_events: ArrayLike) -> NDArray[np.float64]:
    """1 if the user's session began after the snapshot's moment, else 0.

    Args:
        delta: t - tau. session_events: events of the present session that are known at t.
    """
    return (np.asarray(delta) > np.asarray(session_events)).astype(np.float64)


def sessions_by_breaks(time_s: ArrayLike) -> NDArray[np.int64]:
    """[n] session number of each event of one user, oldest first, a new one after BREAK_HOURS."""
    breaks = np.diff(np.asarray(time_s, dtype=np.float64)) > BREAK_HOURS * 3600.0
    return np.concatenate([[0], np.cumsum(breaks)]).astype(np.int64)[: len(np.asarray(time_s))]


def omega(semantic: ArrayLike, structural: ArrayLike, top_l: int) -> NDArray[np.float64]:
    """Agreement of both channels (eq. 10): Spearman over the semantic top-L.

    Args:
        semantic: [..., n] scores <e_sem(tau), v_i> of the cached candidates, all of them: also
            those that a repeat policy later leaves out of the answer.
        structural: [..., n] s_str of the same candidates, now.
        top_l: L, candidates compared; all n if there are fewer.

    Returns:
        [...] in [-1, 1]; 0 when either side is constant or fewer than two candidates exist.
    """
    semantic, structural = np.asarray(semantic), np.asarray(structural)
    if semantic.shape[-1] > top_l:
        top = semantic_top(semantic, top_l)
        semantic = np.take_along_axis(semantic, top, axis=-1)
        structural = np.take_along_axis(structural, top, axis=-1)
    return correlation(average_ranks(semantic), average_ranks(structural))


def semantic_top(semantic: ArrayLike, top_l: int) -> NDArray[np.intp]:
    """[..., min(L, n)] positions of the L best semantic scores, best first, ties by position."""
    return np.argsort(-np.asarray(semantic), axis=-1, kind="stable")[..., :top_l]


def average_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """[..., n] 1-based ascending ranks along the last axis; ties share their average rank."""
    values = np.asarray(values)
    n = values.shape[-1]
    if values.ndim == 1:  # one request, as on a device, and hardly ever a tie
        order = values.argsort()
        ordered = values.take(order)
        if all_true(ordered[1:] != ordered[:-1]):
            own = np.empty(n)
            own[order] = np.arange(1.0, n + 1.0)
            return own
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    differs = ordered[..., 1:] != ordered[..., :-1]
    place = np.arange(n, dtype=np.float64)
    if bool(differs.all()):
        sorted_ranks = np.broadcast_to(place, values.shape)
    else:
        edge = np.ones((*values.shape[:-1], 1), dtype=bool)
        first = np.where(np.concatenate([edge, differs], axis=-1), place, 0.0)
        last = np.where(np.concatenate([differs, edge], axis=-1), place, n - 1.0)
        run_start = np.maximum.accumulate(first, axis=-1)
        run_end = np.minimum.accumulate(last[..., ::-1], axis=-1)[..., ::-1]
        sorted_ranks = (run_start + run_end) / 2.0
    ranks = np.empty(values.shape, dtype=np.float64)
    np.put_along_axis(ranks, order, sorted_ranks + 1.0, axis=-1)
    return ranks


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """[...] Pearson correlation along the last axis; 0 where either side does not vary."""
    if a.shape[-1] < 2:
        return np.zeros(a.shape[:-1])
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    flat = scale == 0.0
    quotient = (a * b).sum(axis=-1) / np.where(flat, 1.0, scale)
    result: NDArray[np.float64] = np.clip(np.where(flat, 0.0, quotient), -1.0, 1.0)
    return result


class Agreement:
    """Spearman correlation with fixed scores; the same number as ``omega``.

    Args:
        semantic: [n] scores of the candidates that omega compares.
    """

    def __init__(self, semantic: NDArray[np.floating]) -> None:
        n = len(semantic)
        self._ranks = average_ranks(semantic)
        self._centred = self._ranks - self._ranks.mean() if n else self._ranks
        self._places = np.arange(n, dtype=np.float64)
        variation = float(self._centred @ self._centred) * n * (n * n - 1) / 12.0
        self._scale = 1.0 / math.sqrt(variation) if variation > 0.0 else 0.0

    def with_scores(self, structural: NDArray[np.floating]) -> float:
        """omega for the structural scores [n] of the same candidates."""
        order = structural.argsort()
        ordered = structural.take(order)
        if not all_true(ordered[1:] > ordered[:-1]):  # ties share ranks
            return float(correlation(self._ranks, average_ranks(structural)))
        # Distinct scores have the ranks 1 .. n, whose variation is n (n^2 - 1) / 12.
        omega = float(self._centred.take(order) @ self._places) * self._scale
        return min(1.0, max(-1.0, omega))


def inconsistency(
    initial: NDArray[np.int32],
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
    *,
    top: int | None = None,
) -> float:
    """Mean |position in the cloud's ranking - position in the device's| (LSC4Rec eq. 11).

    Args:
        initial, items, scores: as for ``reordered``. top: as for ``mean_move``.

    Returns:
        In positions, over those candidates that the device ranked (a repeat policy may have left
        some out); ties go to the cloud's order. NaN if there are none.
    """
    return mean_move(reordered(initial, items, scores), top)


def reordered(
    initial: NDArray[np.int32], items: NDArray[np.int32], scores: NDArray[np.float32]
) -> NDArray[np.intp]:
    """[c] the place in the cloud's ranking of each cached candidate, in the device's own order.

    Both places are among those candidates that the device ranked; of equal scores the cloud's
    first comes first.

    Args:
        initial: [n] int32 cached candidates in the cloud's order, best first.
        items: [m] int32 items the device ranked, ascending.
        scores: [m] their structural scores: the device's own ranking, the snapshot left out.
    """
    place = np.searchsorted(items, initial)
    known = place < len(items)
    known[known] = items[place[known]] == initial[known]
    return np.argsort(-scores[place[known]], kind="stable")


def mean_move(order: NDArray[np.intp], top: int | None = None) -> float:
    """Mean distance between new and old place; NaN of nothing.

    Args:
        order: [c] old place of each, in the new order.
        top: over those among the first so many of either order, for further down both order what
            nobody will see; None: over all, as LSC4Rec's eq. 11 has it.
    """
    if len(order) == 0:
        return math.nan
    now = np.arange(len(order))
    moves = np.abs(order - now)
    return float((moves if top is None else moves[np.minimum(order, now) < top]).mean())
