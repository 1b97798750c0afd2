"""The request at every anchor, and what the frozen structural channel says."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state.cues import sessions_by_breaks
from shared.errors import DataError
from shared.progress import NullProgress, Progress
from training.backbone.batches import Events, windows_before
from training.backbone.evaluate import encode_requests, structural_scores
from training.backbone.item_table import ItemParameters
from training.encoders.base import Encoder
from training.semantic.anchors import Anchors
from training.semantic.own_terms import OwnTerms, count_bonus

ROWS_PER_BATCH = 256
ROWS_PER_REPORT = 1024


@dataclass(frozen=True, eq=False)
class Requests:
    """A requests, one per anchor; the structural channel is computed once and kept.

    Attributes:
        anchors: user and step (= tau) of each row.
        target: [A] int64, item of event ``step``.
        e_str: [A, d] structural state (SCaLRec eq. 1).
        copy_logit: [A, L], -inf in padding; with ``history`` [A, L] the return mechanism.
        length: [A] int64, events in the window.
        oldest_age_h: [A] float32, hours from the window's first event to the request.
        events: what training may read of the log.
        session: [n] int64 session number of every event, per user.
        table: the frozen item vectors and biases.
        semantics: [I, d] v'_i, what e_sem and e_text are multiplied with; those of ``table`` where
            both channels share them, as in the paper.
        own: what a device adds to structure from its own events; None: nothing.
    """

    anchors: Anchors
    target: Tensor
    e_str: Tensor
    copy_logit: Tensor
    history: Tensor
    length: NDArray[np.int64]
    oldest_age_h: NDArray[np.float32]
    events: Events
    session: NDArray[np.int64]
    table: ItemParameters
    semantics: Tensor
    own: OwnTerms | None = None

    def __len__(self) -> int:
        return len(self.anchors)

    def equipped(self, semantics: Tensor | None, own: OwnTerms | None) -> Requests:
        """The same requests with these semantic vectors (None: those of the table) and terms."""
        shared = self.table.vectors.detach() if semantics is None else semantics
        return replace(self, semantics=shared, own=own)

    def structural(self, index: Tensor) -> Tensor:
        """The device's own scores of all items [B, I] at rows ``index`` [B].

        Structure, and where there are ``own`` terms what they add.
        """
        scores = structural_scores(
            self.e_str[index], self.copy_logit[index], self.history[index], self.table
        )
        if self.own is None:
            return scores
        if self.own.counts is not None:
            scores += count_bonus(self.counts(index, self.own), self.own.counts)
        if self.own.text is not None:
            text, weight = self.own.text[index], self.own.text_weight
            scores = torch.addmm(scores, text, self.semantics.T, alpha=weight)
        return scores

    def structural_of(self, index: Tensor, items: Tensor) -> Tensor:
        """Own scores of given candidates ``items`` [B, C] at rows ``index`` [B]: [B, C]."""
        base = torch.einsum("bd,bcd->bc", self.e_str[index], self.table(items))
        same = self.history[index][:, :, None] == items[:, None, :]  # [B, L, C]
        returns = (self.copy_logit[index].exp()[:, :, None] * same).sum(1)
        scores = base + self.table.bias[items] + torch.log1p(returns)
        if self.own is None:
            return scores
        if self.own.counts is not None:
            counts = self.counts(index, self.own).gather(1, items)
            scores += count_bonus(counts, self.own.counts)
        if self.own.text is not None:
            words = torch.einsum("bd,bcd->bc", self.own.text[index], self.semantics[items])
            scores += self.own.text_weight * words
        return scores

    def counts(self, index: Tensor, own: OwnTerms) -> Tensor:
        """[B, I] decayed counts of all own events that a device keeps; see ``OwnCounts``."""
        place, item = self.seen(index)
        known = torch.from_numpy(self.anchors.tau[index.numpy()])
        stop = known.cumsum(0)
        age = stop[place] - 1 - torch.arange(len(place))
        half_life = 1.0 if own.counts is None else own.counts.half_life
        weight = torch.exp2(-age / half_life)
        if own.kept is not None:
            weight[age >= own.kept] = 0.0
        found = torch.zeros(len(index), len(self.table.bias))
        return found.index_put_((place, item), weight, accumulate=True)

    def seen(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(place within ``index``, item) of everything the user had before the step."""
        return seen(self.events, self.anchors, index.numpy())

    def fresh_targets(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[R] whether the target at each of ``rows`` is new to its user (a *discovery*)."""
        return new_to_users(self.events, self.anchors, rows, self.target[torch.from_numpy(rows)])


def make_requests(
    model: Encoder,
    table: ItemParameters,
    events: Events,
    anchors: Anchors,
    progress: Progress | None = None,
    session: NDArray[np.int64] | None = None,
) -> Requests:
    """Encode the request at every anchor.

    Args:
        events: cut before the first test target: a row reads events before its step, and of the
            event at its step the time, the hour and (as the target) the item.
        session: [n] session number of each of ``events``; None: a new one after every long break.

    Raises:
        DataError: an anchor's step has no event in ``events``, or there are no anchors.
    """
    if len(anchors) == 0:
        raise DataError("no user has enough events for a single training abstract")
    row = events.user_start[anchors.user] + anchors.tau
    if np.any(row >= events.user_start[anchors.user + 1]):
        raise DataError("an anchor lies beyond the events that training may read")
    frozen = copy.deepcopy(table).requires_grad_(False)
    windows = windows_before(events, row, model.config.window, row)
    e_str = torch.empty(len(row), model.config.dim)
    copy_logit = torch.full(windows.item.shape, -torch.inf)
    # Rows of one length are encoded together, so those of a report have few lengths.
    order = torch.argsort(windows.length, stable=True)
    with (progress or NullProgress()).task("encoding histories", len(row)) as task:
        for index in torch.split(order, ROWS_PER_REPORT):
            e_str[index], logits = encode_requests(model, frozen, windows.rows(index))
            copy_logit[index, : logits.shape[1]] = logits
            task.advance(len(index))
    return Requests(
        anchors=anchors,
        target=torch.from_numpy(events.item[row].astype(np.int64)),
        e_str=e_str,
        copy_logit=copy_logit,
        history=windows.item,
        length=windows.length.numpy(),
        oldest_age_h=windows.age_h[:, 0].numpy(),
        events=events,
        session=_sessions(events) if session is None else session,
        table=frozen,
        semantics=frozen.vectors.detach(),
    )


def _sessions(events: Events) -> NDArray[np.int64]:
    """By breaks between events; without times a user's events are one session."""
    if events.time_s is None:
        return np.zeros(len(events.item), dtype=np.int64)
    users = np.split(events.time_s, events.user_start[1:-1])
    return np.concatenate([sessions_by_breaks(times) for times in users])


def seen(events: Events, anchors: Anchors, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """(place within ``rows``, item) of everything each user had before, oldest first."""
    count = anchors.tau[rows]
    place = np.repeat(np.arange(len(rows)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    first = events.user_start[anchors.user[rows]]
    item = events.item[first[place] + offset].astype(np.int64)
    return torch.from_numpy(place), torch.from_numpy(item)


def seen_lines(events: Events, anchors: Anchors, rows: NDArray[np.int64]) -> Tensor:
    """The same as [B, E], the shorter lines filled up with their first item."""
    tau = anchors.tau[rows, None]
    place = np.arange(tau.max(initial=0))
    first = events.user_start[anchors.user[rows], None]
    return torch.from_numpy(events.item[first + np.where(place < tau, place, 0)].astype(np.int64))


def new_to_users(
    events: Events, anchors: Anchors, rows: NDArray[np.int64], target: Tensor
) -> NDArray[np.bool_]:
    """[R] whether ``target`` [R] at each of ``rows`` is new to its user (a *discovery*)."""
    new = np.ones(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), ROWS_PER_BATCH):
        some = slice(start, start + ROWS_PER_BATCH)
        place, item = seen(events, anchors, rows[some])
        new[start + place[item == target[some][place]].numpy()] = False
    return new
