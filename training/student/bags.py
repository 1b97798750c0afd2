"""Bags: what the text student reads at every step, as rows of its table and their weights."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Digest, Sections
from device_runtime.abstract.words import ItemWords
from device_runtime.state.history import RequestContext
from device_runtime.student.features import Part, StudentFeatures
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.split import MIN_HISTORY, Split
from training.semantic.anchors import Anchors


@dataclass(frozen=True, eq=False)
class Bags:
    """S bags, one per anchor. Parts that come again are held once.

    Attributes:
        anchors: user and step of each bag.
        start: [S + 1] where each bag's parts begin in ``part``.
        part: [n] int32 parts of all bags.
        part_start: [P + 1] where each part's tokens begin in ``row`` and ``weight``.
        row: [T] int32. weight: [T] float32.
        table_rows: R, of the table that tokens are hashed into.
    """

    anchors: Anchors
    start: NDArray[np.int64]
    part: NDArray[np.int32]
    part_start: NDArray[np.int64]
    row: NDArray[np.int32]
    weight: NDArray[np.float32]
    table_rows: int

    def __len__(self) -> int:
        return len(self.anchors)

    def take(
        self, index: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Bags ``index`` [B]: where each begins [B], rows [K] and weights [K].

        Weights are divided by the root of the sum of their squares in each bag.
        """
        parts, n_parts = _ranges(self.start, index)
        tokens, n_tokens = _ranges(self.part_start, self.part[parts])
        bag = np.repeat(np.repeat(np.arange(len(index)), n_parts), n_tokens)
        weight = self.weight[tokens]
        squared = np.bincount(bag, weight.astype(np.float64) ** 2, minlength=len(index))
        norm = np.sqrt(np.maximum(squared, np.finfo(np.float32).tiny))
        starts = np.searchsorted(bag, np.arange(len(index)))
        return starts, self.row[tokens], (weight / norm[bag]).astype(np.float32)


def student_bags(
    log: InteractionLog,
    anchors: Anchors,
    form: AbstractForm,
    profile: DeviceProfile,
    *,
    rows: int,
) -> Bags:
    """What a device of this profile would read at each anchor.

    Reads events before tau, and of event tau its time, hour, query and place in its session alone.

    Args:
        form: of the abstract, whose sections are read.
        rows: of the student's table.
    """
    words = ItemWords(log.catalogue, form.level)
    features = StudentFeatures(words, rows)
    numbers: dict[Part, int] = {}
    part = array("i")
    start = [0]
    for sections in sections_at(log, anchors, words, form, profile):
        part.extend(numbers.setdefault(one, len(numbers)) for one in features.parts(sections))
        start.append(len(part))
    tokens = [features.tokens(one) for one in numbers]
    none = (np.empty(0, np.int32), np.empty(0, np.float32))
    return Bags(
        anchors=anchors,
        start=np.array(start, dtype=np.int64),
        part=np.array(part, dtype=np.int32),
        part_start=np.cumsum([0, *(len(row) for row, _ in tokens)]).astype(np.int64),
        row=np.concatenate([none[0], *(row for row, _ in tokens)]),
        weight=np.concatenate([none[1], *(weight for _, weight in tokens)]),
        table_rows=rows,
    )


def every_training_step(split: Split) -> Anchors:
    """All steps whose targets the backbone trains on: no text model has to be paid for them."""
    stop = np.maximum(split.calibration_start, MIN_HISTORY)
    count = stop - MIN_HISTORY
    user = np.repeat(np.arange(len(stop)), count)
    place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    return Anchors(user.astype(np.int64), (place + MIN_HISTORY).astype(np.int64))


def sections_at(
    log: InteractionLog,
    anchors: Anchors,
    words: ItemWords,
    form: AbstractForm,
    profile: DeviceProfile,
) -> Iterator[Sections]:
    """Sections at each anchor; events are counted once each where anchors are in order."""
    hours, sessions = log.local_hour_of_week().tolist(), log.session_events()
    items, bounded = log.item.tolist(), profile.retain == "window"
    digest, known, of_user = Digest(words, form), 0, -1
    for user, tau in zip(anchors.user.tolist(), anchors.tau.tolist(), strict=True):
        first = int(log.user_start[user])
        now = first + tau
        if user != of_user or bounded or now < known:
            digest, of_user = Digest(words, form), user
            known = first + max(0, tau - profile.window) if bounded else first
        for event in range(known, now):
            digest.observe(items[event], hours[event])
        known = now
        yield digest.sections(
            RequestContext(
                time=None if log.time is None else float(log.time[now]),
                hour_of_week=hours[now],
                query="" if log.query is None else log.query[now],
                session_events=None if sessions is None else int(sessions[now]),
            )
        )


def _ranges(
    start: NDArray[np.int64], index: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the ranges ``index``, one range after another, and how many each has."""
    count = start[index + 1] - start[index]
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(start[index], count) + offset, count
