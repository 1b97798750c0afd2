"""Windows over event columns: what the encoder sees for a request, and what follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import DataError
from shared.interactions import InteractionLog

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class Events:
    """Columns of n events, users one after another, each user's in time order.

    Attributes:
        item: [n] item index.
        local_hour: [n] local hour of week in [0, 168), Monday 00:00 = 0.
        user_start: [U + 1] first event of each user, and n.
        time_s: [n] Unix seconds, or None when the log only has an order.
    """

    item: NDArray[np.integer]
    local_hour: NDArray[np.floating]
    user_start: NDArray[np.int64]
    time_s: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n = len(self.item)
        if len(self.local_hour) != n or (self.time_s is not None and len(self.time_s) != n):
            raise DataError("event columns differ in length")
        start = self.user_start
        if len(start) < 2 or start[0] != 0 or start[-1] != n or np.any(np.diff(start) < 0):
            raise DataError(f"user_start must rise from 0 to the number of events, {n}")

    def keep_first(self, counts: NDArray[np.int64]) -> Events:
        """The first ``counts`` [U] events of every user; the rest is gone, not masked."""
        size = np.diff(self.user_start)
        if len(counts) != len(size) or np.any(counts > size) or np.any(counts < 0):
            raise DataError("counts must name between 0 and all events of every user")
        place = np.arange(len(self.item)) - np.repeat(self.user_start[:-1], size)
        kept = place < np.repeat(counts, size)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        times = None if self.time_s is None else self.time_s[kept]
        return Events(self.item[kept], self.local_hour[kept], start, times)


@dataclass(frozen=True, eq=False)
class Windows:
    """R rows of at most W events, each with the item that follows every event.

    Padded on the right with copies of the row's request moment (see `Encoder.encode`).
    """

    item: Tensor  # [R, W] int64; padding repeats the row's first item
    age_h: Tensor  # [R, W] hours before the row's request
    hour: Tensor  # [R, W] local hour of week
    request_hour: Tensor  # [R]
    next_item: Tensor  # [R, W] int64
    wanted: Tensor  # [R, W] bool: the places whose next item is predicted here
    length: Tensor  # [R] int64, real events

    def __len__(self) -> int:
        return len(self.item)

    def rows(self, index: Tensor) -> Windows:
        """A batch of rows, cut to its longest row."""
        longest = int(self.length[index].max())
        wide = (self.item, self.age_h, self.hour)
        item, age_h, hour = (column[index, :longest] for column in wide)
        following, wanted = self.next_item[index, :longest], self.wanted[index, :longest]
        request_hour, length = self.request_hour[index], self.length[index]
        return Windows(
            item=item,
            age_h=age_h,
            hour=hour,
            request_hour=request_hour,
            next_item=following,
            wanted=wanted,
            length=length,
        )


def windows_before(
    events: Events, target: NDArray[np.int64], width: int, first_wanted: NDArray[np.int64]
) -> Windows:
    """For each target event the up to ``width`` events of its user before it.

    Args:
        events: the log.
        target: [R] event rows; the request is made at the target's own time and hour.
        width: W.
        first_wanted: [R] first event row of the same user that the row predicts; the row predicts
            every event from there to its target.

    Raises:
        DataError: a target is its user's first event: nothing to predict it from.
    """
    user = np.searchsorted(events.user_start, target, side="right") - 1
    first = np.maximum(events.user_start[user], target - width)
    length = target - first
    if np.any(length < 1):
        raise DataError("a user's first event cannot be a target: there is no history before it")
    place = np.arange(width)
    row = first[:, None] + place  # may run past the target in padding
    real = place < length[:, None]
    at = np.where(real, row, target[:, None])  # padding carries the request's time and hour
    age_h = np.zeros(at.shape, dtype=np.float32)
    if events.time_s is not None:
        age_s = events.time_s[target][:, None] - events.time_s[at]
        age_h = np.maximum(age_s / SECONDS_PER_HOUR, 0.0).astype(np.float32)
    following = np.where(real, row + 1, target[:, None])
    return Windows(
        item=_long(events.item[np.where(real, row, first[:, None])]),
        age_h=torch.from_numpy(age_h),
        hour=torch.from_numpy(events.local_hour[at].astype(np.float32)),
        request_hour=torch.from_numpy(events.local_hour[target].astype(np.float32)),
        next_item=_long(events.item[following]),
        wanted=torch.from_numpy(real & (following >= first_wanted[:, None])),
        length=_long(length),
    )


def training_windows(events: Events, width: int, stride: int, rng: np.random.Generator) -> Windows:
    """Cover every event that has a history exactly once as a target.

    Windows overlap: each predicts its last ``stride`` places (a user's first window all of them),
    so that targets see between W - stride + 1 and W events. The grid is shifted at random per
    user, so contexts differ from epoch to epoch.
    """
    targets, firsts = [], []
    sizes = np.diff(events.user_start)
    # Who has nothing to learn from draws nothing: later users may not move the grid of others.
    able = np.flatnonzero(sizes > 1)
    phases = rng.integers(0, stride, len(able))
    starts = events.user_start[able]
    for start, size, phase in zip(starts, sizes[able], phases, strict=True):
        last = int(start + size - 1)
        ends = np.arange(last - int(phase), int(start), -stride, dtype=np.int64)
        ends = np.concatenate([[last], ends]) if len(ends) == 0 or ends[0] != last else ends
        targets.append(ends)
        firsts.append(np.append(ends[1:] + 1, start + 1))
    if not targets:
        raise DataError("no user has two training events: there is nothing to learn from")
    return windows_before(events, np.concatenate(targets), width, np.concatenate(firsts))


def _long(values: NDArray[np.integer]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def events_of(log: InteractionLog) -> Events:
    """The log's columns as the backbone reads them."""
    return Events(log.item, log.local_hour_of_week(), log.user_start, log.time)


def sessions_of(
    log: InteractionLog, stop: NDArray[np.int64] | None = None
) -> NDArray[np.int64] | None:
    """The log's own session of every event, of each user's first ``stop`` [U]; None without any."""
    if log.session is None or stop is None:
        return log.session
    place = np.arange(len(log.item)) - np.repeat(log.user_start[:-1], log.counts())
    return log.session[place < np.repeat(stop, log.counts())]
