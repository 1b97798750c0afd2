"""Situation: what a cloud may know of a user when it makes a plan."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.week import slot_in_words
from training.baselines.base import Rows, World

SHARES = (0.0, 0.1, 0.3, 0.6)  # upper ends of the buckets that a share of returns falls into
_MOSTLY = re.compile(r"^Mostly ([^.]*)\.")
_BETWEEN = re.compile(r", some |, | and ")
_ASKS = re.compile(r"(^|\. )Asks: ")


@dataclass(frozen=True, slots=True)
class Situation:
    """Of one user at tau; nothing here names an item.

    Attributes:
        events: tau, which every snapshot's version holds.
        returns: bucket of the share of events whose item the user had had before, see SHARES.
        categories: that the abstract tells.
        query: whether the abstract holds one.
        hour: of the week, local; None where the log has no times.
    """

    events: int
    returns: int
    categories: int
    query: bool
    hour: float | None

    def numbers(self) -> list[float]:
        """[F] features: the bucket as indicators, the hour on the circles of a day and a week."""
        found = [math.log1p(self.events), float(self.categories), float(self.query)]
        found += [float(self.returns == bucket) for bucket in range(len(SHARES) + 1)]
        for period in (24.0, 168.0):
            angle = 2 * math.pi * (self.hour or 0.0) / period
            known = self.hour is not None
            found += [math.sin(angle) * known, math.cos(angle) * known]
        return found

    def words(self) -> str:
        """The same for a language model; few texts in all, so that an answer serves many."""
        returns = ("never", "rarely", "sometimes", "often", "mostly")[self.returns]
        known = 2 ** int(math.log2(max(1, self.events)))
        told = [
            f"The user has a history of about {known} events.",
            f"The user {returns} returns to the same items.",
            f"The history tells {self.categories} favourite categories.",
            f"The user {'asks a question in words' if self.query else 'asks no question'}.",
        ]
        if self.hour is not None:
            told.append(f"It is a {slot_in_words(self.hour)}.")
        return " ".join(told)


def situations(world: World, rows: Rows) -> list[Situation]:
    """One for each of ``rows`` [R]; reads what a snapshot at the row may, and no more."""
    requests = world.requests
    events, anchors = requests.events, requests.anchors
    first = events.user_start[anchors.user[rows]]
    tau = anchors.tau[rows]
    found = []
    for row, start, known in zip(rows.tolist(), first.tolist(), tau.tolist(), strict=True):
        own = events.item[start : start + known]
        share = 1.0 - len(np.unique(own)) / known if known else 0.0
        text = world.abstracts[row]
        hour = None if events.time_s is None else float(events.local_hour[start + known])
        found.append(
            Situation(
                events=known,
                returns=int(np.searchsorted(SHARES, share, side="left")),
                categories=categories_told(text),
                query=_ASKS.search(text) is not None,
                hour=hour,
            )
        )
    return found


def categories_told(abstract: str) -> int:
    """How many categories the abstract's first sentence lists."""
    mostly = _MOSTLY.match(abstract)
    return 0 if mostly is None else len(_BETWEEN.split(mostly[1]))


def features(world: World, rows: Rows) -> NDArray[np.float64]:
    """[R, F] of ``Situation.numbers``."""
    each, place = np.unique(rows, return_inverse=True)  # many pairs share a snapshot
    found = np.array([one.numbers() for one in situations(world, each)], dtype=np.float64)
    return found[place]
