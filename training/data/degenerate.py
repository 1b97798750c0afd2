"""Logs that nothing can be learned or measured from, told before anything is trained."""

from __future__ import annotations

import numpy as np

from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.split import MIN_HISTORY, Split

MOST_EVENTS = 250_000  # of one user: no person's, and every step of theirs reads what came before


def refuse_degenerate(log: InteractionLog, split: Split) -> None:
    """Nothing, for a log that can be trained and tested on.

    Raises:
        DataError: it has a single item or user, nobody with enough events to be tested, or a user
            with more than any person has; says what to do.
    """
    counts = log.counts()
    if len(log.catalogue) < 2:
        raise DataError(
            f"log {log.name!r} has a single item, {log.catalogue.ids[0]!r}: there is nothing to "
            "rank. Is the right column named as item (--columns)?"
        )
    if log.n_users < 2:
        raise DataError(
            f"log {log.name!r} has a single user, {log.user_ids[0]!r}: there is nobody to learn "
            "from, and no interval without several users. Is the right column named as user "
            "(--columns), or is log.min_events too high?"
        )
    if len(split.test()) == 0:
        validated = int((split.test_start - split.validation_start).max())
        needed = MIN_HISTORY + max(validated, 1) + 1
        raise DataError(
            f"none of the {log.n_users:,} users of log {log.name!r} can be tested: that takes "
            f"{needed} events at least (two known, training.validation_steps, and one to test), "
            f"and the longest history has {int(counts.max())}. Bring a longer log, or lower "
            "training.validation_steps"
        )
    longest = int(counts.argmax())
    if counts[longest] > MOST_EVENTS:
        others = float(np.median(counts))
        raise DataError(
            f"user {log.user_ids[longest]!r} of log {log.name!r} has {int(counts[longest]):,} "
            f"events (the median user {others:.0f}), more than {MOST_EVENTS:,}: a robot, or an id "
            "that stands for many. Leave its rows out"
        )
