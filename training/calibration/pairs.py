"""Pairs of one request and one older snapshot, their candidates and their cues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state import cues
from shared.split import Steps, stale_tau
from training.backbone.batches import SECONDS_PER_HOUR
from training.semantic.anchors import MAX_GAP, Anchors
from training.semantic.requests import ROWS_PER_BATCH, Requests

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs: rows of the request at t and of the anchor at tau <= t, same user."""

    fresh: Rows
    stale: Rows

    def __len__(self) -> int:
        return len(self.fresh)

    def __getitem__(self, index: NDArray[np.integer]) -> Pairs:
        return Pairs(self.fresh[index], self.stale[index])


def training_pairs(anchors: Anchors, training: Rows, max_gap: int = MAX_GAP) -> Pairs:
    """Every ordered pair of training anchors of one user with 0 <= t - tau <= ``max_gap``.

    Both ends are training steps, so neither text nor target of a validation step takes part.
    """
    rows = np.sort(training)
    user, tau = anchors.user[rows], anchors.tau[rows]
    fresh, stale = [], []
    # Rows are sorted by user, then tau: partners are the rows just before, at most max_gap of them.
    for back in range(min(max_gap, len(rows) - 1) + 1):
        later, earlier = slice(back, None), slice(0, len(rows) - back)
        near = (user[later] == user[earlier]) & (tau[later] - tau[earlier] <= max_gap)
        fresh.append(rows[later][near])
        stale.append(rows[earlier][near])
    pairs = Pairs(np.concatenate(fresh), np.concatenate(stale))
    return pairs[np.lexsort((pairs.stale, pairs.fresh))]


def block_pairs(
    anchors: Anchors,
    fresh: Rows,
    rng: np.random.Generator,
    *,
    partners: int,
    max_gap: int = MAX_GAP,
) -> Pairs:
    """Pairs of the requests ``fresh`` with older anchors of their users, and with themselves.

    Args:
        fresh: [R] rows; their partners may be any anchor with 0 <= t - tau <= ``max_gap``.
        partners: stale ones per request at most, drawn at random; its own row (gap 0) comes on top.
    """
    count = np.minimum(fresh, max_gap)  # rows are sorted by user, then tau: partners lie before
    back = np.arange(1, max_gap + 1)
    stale = np.maximum(fresh[:, None] - back, 0)
    near = (
        (back <= count[:, None])
        & (anchors.user[stale] == anchors.user[fresh][:, None])
        & (anchors.tau[fresh][:, None] - anchors.tau[stale] <= max_gap)
    )
    order = np.where(near, rng.random(near.shape), np.inf)
    chosen = near & (np.argsort(np.argsort(order, axis=1), axis=1) < partners)
    request, place = np.nonzero(chosen)
    pairs = Pairs(
        np.concatenate([fresh, fresh[request]]),
        np.concatenate([fresh, stale[request, place]]),
    )
    return pairs[np.lexsort((pairs.stale, pairs.fresh))]


def recent_means(requests: Requests, pairs: Pairs, window: int) -> Tensor:
    """Mean vector [P, d] of the items met since the snapshot, at most the last ``window``.

    Zero where nothing happened since.
    """
    events, anchors = requests.events, requests.anchors
    first = events.user_start[anchors.user[pairs.fresh]]
    stop = first + anchors.tau[pairs.fresh]
    start = np.maximum(first + anchors.tau[pairs.stale], stop - window)
    # A stranger's snapshot (simulated drift) may claim more.
    return means_between(requests, np.minimum(start, stop), stop)


def means_between(requests: Requests, start: Rows, stop: Rows) -> Tensor:
    """Mean vector [P, d] of the items of the events [start, stop) [P]; zero of none."""
    events = requests.events
    vectors = requests.semantics.double()
    total = torch.zeros(len(events.item) + 1, vectors.shape[1], dtype=torch.float64)
    torch.cumsum(vectors[torch.from_numpy(events.item.astype(np.int64))], 0, out=total[1:])
    count = torch.from_numpy(stop - start)[:, None]
    mean = (total[torch.from_numpy(stop)] - total[torch.from_numpy(start)]) / count.clamp(min=1)
    return mean.float()


def draw_one_per_request(pairs: Pairs, rng: np.random.Generator) -> NDArray[np.int64]:
    """Index of one random pair of every request, in random order: one epoch's sample of gaps."""
    _, first, count = np.unique(pairs.fresh, return_index=True, return_counts=True)
    chosen = first + rng.integers(0, count)
    return rng.permutation(chosen).astype(np.int64)


def pairs_at_gap(anchors: Anchors, steps: Steps, gap: int) -> Pairs:
    """The steps with a snapshot ``gap`` events old (clipped at MIN_HISTORY).

    Raises:
        KeyError: a step or its stale point is not among the anchors.
    """
    step = steps.step.astype(np.int64)
    fresh = anchors.find(steps.user, step)
    stale = anchors.find(steps.user, stale_tau(step, gap))
    if np.any(fresh < 0) or np.any(stale < 0):
        raise KeyError(f"steps without an anchor at gap {gap}")
    return Pairs(fresh, stale)


@torch.no_grad()
def top_candidates(e_sem: Tensor, vectors: Tensor, count: int) -> Tensor:
    """Top-N items by <e_sem, v_i> (SCaLRec eq. 7): [A, d], [I, d] -> [A, min(N, I)], best first."""
    n = min(count, len(vectors))
    batches = torch.split(e_sem, ROWS_PER_BATCH)
    return torch.cat([(batch @ vectors.T).topk(n, dim=1).indices for batch in batches])


@torch.no_grad()
def pair_cues(
    requests: Requests,
    pairs: Pairs,
    e_sem: Tensor,
    candidates: Tensor,
    *,
    window: int,
    top_l: int,
    listed: Rows | None = None,
) -> Tensor:
    """Raw cues [P, 8] in the device's order, computed by the device's own functions.

    Args:
        e_sem: [A, d] semantic embedding at every anchor.
        candidates: [A, N] what the cloud would cache at every anchor.
        window: of the device profile. top_l: L of eq. 10.
        listed: [P] anchors whose candidates are ranked, and compared by omega; those of the
            snapshots themselves when None.
    """
    listed = pairs.stale if listed is None else listed
    anchors, has_time = requests.anchors, requests.events.time_s is not None
    out = np.zeros((len(pairs), len(cues.CUES)), dtype=np.float32)  # 0 without times
    e_str = requests.e_str.numpy()
    length = [cues.length(n, window) for n in range(window + 1)]
    density = [
        cues.density(np.full(n, age, dtype=np.float32), has_time=has_time)
        for n, age in zip(requests.length.tolist(), requests.oldest_age_h.tolist(), strict=True)
    ]
    out[:, 0] = anchors.tau[pairs.fresh] - anchors.tau[pairs.stale]
    out[:, 1] = cues.drift(e_str[pairs.fresh], e_str[pairs.stale])
    out[:, 3] = np.array(length)[np.minimum(anchors.tau[pairs.fresh], window)]
    out[:, 4] = np.array(density)[pairs.fresh]
    events = requests.events
    first = events.user_start[anchors.user[pairs.fresh]]
    # A snapshot's moment is that of the request it answered: of the event that came next.
    now = first + anchors.tau[pairs.fresh]
    then = np.minimum(first + anchors.tau[pairs.stale], now)  # a stranger's may claim more
    if events.time_s is not None:
        kept = None if requests.own is None else requests.own.kept
        # A device that has forgotten the event at tau takes the oldest one it holds.
        told = then if kept is None else np.maximum(then, now - kept)
        out[:, 5] = cues.elapsed((events.time_s[now] - events.time_s[told]) / SECONDS_PER_HOUR)
        out[:, 6] = cues.turn(events.local_hour[now], events.local_hour[told])
    out[:, 7] = requests.session[now] != requests.session[then]
    for at in np.split(np.arange(len(pairs)), range(ROWS_PER_BATCH, len(pairs), ROWS_PER_BATCH)):
        items = candidates[torch.from_numpy(listed[at])]
        semantic = candidate_scores(e_sem[torch.from_numpy(pairs.stale[at])], items, requests)
        structural = requests.structural_of(torch.from_numpy(pairs.fresh[at]), items)
        out[at, 2] = cues.omega(semantic.numpy(), structural.numpy(), top_l)
    return torch.from_numpy(out)


def candidate_scores(e_sem: Tensor, items: Tensor, requests: Requests) -> Tensor:
    """<e_sem, v'_i>: [B, d], [B, C] -> [B, C]."""
    return torch.einsum("bd,bcd->bc", e_sem, requests.semantics[items])


def united(
    requests: Requests, rows: Tensor, lists: Sequence[Tensor], *, exclude_seen: bool
) -> tuple[Tensor, Tensor]:
    """Union of candidate lists: items [B, C] and which places count [B, C].

    Every item counts once; with ``exclude_seen`` those that the user of the row had before not at
    all. A row without any item left keeps its first one, so that a distribution over it exists.
    """
    items, _ = torch.cat(list(lists), dim=1).sort(dim=1)
    valid = torch.ones_like(items, dtype=torch.bool)
    valid[:, 1:] = items[:, 1:] != items[:, :-1]
    if exclude_seen:
        had = torch.zeros(len(rows), len(requests.table.bias), dtype=torch.bool)
        had[requests.seen(rows)] = True
        valid &= ~had.gather(1, items)
    valid[:, 0] |= ~valid.any(dim=1)
    return items, valid
