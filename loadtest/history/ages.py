"""What must hold of every snapshot's age, as devices tell it and as the cloud serves it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from loadtest.history.history import Expected, RunHistory, Violation, user_index
from loadtest.records.record_table import numbers

Found = Iterator[Violation]


def ages_are_true(history: RunHistory, expected: Expected) -> Found:
    """No snapshot is told to be older than the first request that asked for its step.

    Whatever anybody does to a clock: it was computed after somebody had asked for it.
    """
    asked = _asked(history)
    used = history.requests.filter(pl.col("snapshot_version") > 0)
    for row in used.iter_rows(named=True):
        times = asked.get((row["user"], row["snapshot_tau"]))
        if times is None:
            continue  # another rule's: it never came
        most = row["started_s"] - float(times[0]) + expected.slack_s
        if not row["snapshot_age_s"] <= most:
            what = f"age told {row['snapshot_age_s']:.1f} s, at most {most:.1f} s is possible"
            yield Violation("ages are true", row["user"], row["started_s"], what)


def nothing_expired_is_served(history: RunHistory, expected: Expected) -> Found:
    """A stand-in for a failed computation is no older than the store may keep it."""
    asked = _asked(history)
    stand_ins = history.attempts.filter(pl.col("intact") & pl.col("stale"))
    for row in stand_ins.iter_rows(named=True):
        user = user_index(row["user"])
        times = asked.get((user, row["blob_tau"]))
        if times is None:
            continue
        # It was written after the last request for that step at the latest, deadlines included.
        before = times[times <= row["done_s"]]
        if not len(before):
            continue
        age_s = row["done_s"] - float(before[-1])
        if age_s > expected.ttl_s + expected.deadline_s + expected.slack_s:
            what = f"a stand-in of {age_s:.1f} s, kept for {expected.ttl_s:g} s"
            yield Violation("nothing expired is served", user, row["done_s"], what)


def _asked(history: RunHistory) -> dict[tuple[int, int], np.ndarray]:
    """When requests left for each user's step, in order."""
    frame = history.attempts.sort("sent_s").select("user", "step", "sent_s")
    return {
        (user_index(str(user)), int(str(step))): numbers(own, "sent_s")
        for (user, step), own in frame.group_by("user", "step", maintain_order=True)
    }
