"""What must hold of every history, whatever happened to the cloud. One function, one invariant.

Each takes the history and what is expected, and yields the places where it does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from loadtest.history.history import Expected, RunHistory, Violation, user_index
from loadtest.history.records import CANCELLED
from loadtest.records.record_table import numbers
from shared.schemas import REFRESH_HEADER, REQUEST_ID_HEADER, SnapshotRequest

EPS = 1e-5  # float32 of the device against float64 here
EDGE_S = 1e-6
ALLOWED_FIELDS = frozenset(SnapshotRequest.model_fields)
# What a device may add to its words. A new one must be thought about first.
ALLOWED_HEADERS = frozenset(
    name.lower()
    for name in ("Accept", "Content-Type", "Authorization", "traceparent", "tracestate",
                 REFRESH_HEADER, REQUEST_ID_HEADER)
)  # fmt: skip
Found = Iterator[Violation]


def every_request_answered(history: RunHistory, expected: Expected) -> Found:
    """Each planned request has one answer, in the order of the user's steps."""
    counts = dict(history.requests.group_by("user").len().iter_rows())
    for user, due in expected.due.items():
        if counts.get(user, 0) != due:
            what = f"{counts.get(user, 0)} answers to {due} requests"
            yield Violation("every request answered", user, 0.0, what)
    for (user,), asked in history.requests.group_by("user"):
        steps = asked.sort("started_s", "step")["step"].to_numpy()
        if np.any(np.diff(steps) != 1):
            what = f"steps {steps.tolist()} are not one after the other"
            yield Violation("every request answered", _int(user), 0.0, what)


def gap_is_true(history: RunHistory, expected: Expected) -> Found:
    """delta = step - tau, of the snapshot that was used; -1 where none was."""
    local = pl.col("source") == "local"
    wrong = history.requests.filter(
        (local & ((pl.col("delta") != -1) | (pl.col("snapshot_version") != 0)))
        | (~local & (pl.col("delta") != (pl.col("step") - pl.col("snapshot_tau"))))
        | (~local & (pl.col("delta") < 0))
        | (~local & (pl.col("snapshot_age_s") < 0))
        | (~local & (pl.col("snapshot_tau") != pl.col("snapshot_version") // (1 << 42)))
    )
    for row in wrong.iter_rows(named=True):
        what = (
            f"step {row['step']}, snapshot of step {row['snapshot_tau']} (version "
            f"{row['snapshot_version']}), source {row['source']}, but gap {row['delta']}"
        )
        yield Violation("reported gap is true", row["user"], row["started_s"], what)


def versions_never_go_back(history: RunHistory, expected: Expected) -> Found:
    """A device never swaps a snapshot for an older one."""
    for frame, time, column in (
        (history.requests, "started_s", "snapshot_version"),
        (history.refreshes, "finished_s", "version"),
    ):
        ordered = frame.sort("user", time, maintain_order=True)
        earlier = pl.col(column).shift(1).over("user")
        for row in ordered.with_columns(earlier.alias("_earlier")).iter_rows(named=True):
            if row["_earlier"] is not None and row[column] < row["_earlier"]:
                what = f"version {row[column]} after {row['_earlier']}"
                yield Violation("versions never go back", row["user"], row[time], what)


def correction_is_bounded(history: RunHistory, expected: Expected) -> Found:
    """|de| <= gamma_max * alpha (SCaLRec eq. 13), and alpha = 1 - r lies in [0, 1]."""
    corrected = history.requests.filter(pl.col("de_norm").is_not_nan())
    bound = expected.gamma_max * numbers(corrected, "alpha")
    alpha = numbers(corrected, "alpha")
    broken = numbers(corrected, "de_norm") > bound * (1 + EPS) + EPS
    broken |= (alpha < -EPS) | (alpha > 1 + EPS)
    for row in corrected.filter(pl.Series(broken)).iter_rows(named=True):
        what = f"|de| = {row['de_norm']:g} with alpha = {row['alpha']:g}"
        yield Violation("correction is bounded", row["user"], row["started_s"], what)


def snapshots_are_ones_own(history: RunHistory, expected: Expected) -> Found:
    """Every version a device used came to it whole, under its own name, of the right bundle.

    The wire is the witness: whatever else arrived (torn, mixed, somebody else's) was not used.
    """
    came: dict[int, dict[int, float]] = {}
    for row in history.attempts.filter(pl.col("intact")).iter_rows(named=True):
        user = user_index(row["user"])
        if row["blob_user"] == row["user"] and row["bundle"] == expected.bundle_id:
            arrivals = came.setdefault(user, {})
            first = arrivals.get(row["blob_version"], np.inf)
            arrivals[row["blob_version"]] = min(first, row["done_s"])
    used = history.requests.filter(pl.col("snapshot_version") > 0)
    for row in used.iter_rows(named=True):
        arrived = came.get(row["user"], {}).get(row["snapshot_version"])
        if arrived is None or arrived > row["started_s"] + EDGE_S:
            what = (
                f"used version {row['snapshot_version']}, which never came to this user intact "
                "and under their own name before that"
            )
            yield Violation("snapshots are one's own", row["user"], row["started_s"], what)


def nobody_is_sent_anothers(history: RunHistory, expected: Expected) -> Found:
    """Whatever the cloud answers, it is the snapshot of the user who asked."""
    whole = history.attempts.filter(pl.col("intact") & (pl.col("blob_user") != pl.col("user")))
    for row in whole.iter_rows(named=True):
        user = user_index(row["user"])
        what = f"asked for {row['user']}, was sent the snapshot of {row['blob_user']}"
        yield Violation("nobody is sent another's", user, row["done_s"], what)


def newest_snapshot_is_used(history: RunHistory, expected: Expected) -> Found:
    """An answer uses the newest snapshot that a finished refresh has brought."""
    refreshes = {_int(user): own for (user,), own in history.refreshes.group_by("user")}
    for (user,), asked in history.requests.group_by("user"):
        own = refreshes.get(_int(user))
        if own is None:
            continue
        own = own.sort("finished_s")
        ended = numbers(own, "finished_s")
        best = np.maximum.accumulate(own["version"].to_numpy())
        for row in asked.iter_rows(named=True):
            started = row["started_s"]
            before = int(np.searchsorted(ended, started - EDGE_S, side="left"))
            until = int(np.searchsorted(ended, started + EDGE_S, side="right"))
            low = int(best[before - 1]) if before else 0
            high = int(best[until - 1]) if until else 0
            if not low <= row["snapshot_version"] <= high:
                what = f"used version {row['snapshot_version']} while {high} was there"
                yield Violation("newest snapshot is used", row["user"], started, what)


def store_is_never_mixed(history: RunHistory, expected: Expected) -> Found:
    """Whole blobs, each under its own user's key, never an older one over a newer one."""
    held: dict[str, tuple[int, int]] = {}
    for row in history.writes.sort("at_s", maintain_order=True).iter_rows(named=True):
        if row["change"] == "emptied":
            held.clear()
            continue
        user = user_index(row["user"])
        if not row["intact"] or row["blob_user"] != row["user"]:
            what = f"{row['user']}: a blob of {row['blob_user'] or 'nobody'}"
            yield Violation("store is never torn or mixed", user, row["at_s"], what)
        if row["change"] != "put":
            continue
        version, created = held.get(row["user"], (0, 0))
        if row["blob_version"] < version and row["created_ms"] < created:
            what = f"version {row['blob_version']} was written over {version}"
            yield Violation("store is never torn or mixed", user, row["at_s"], what)
        held[row["user"]] = (row["blob_version"], row["created_ms"])


def keys_expire(history: RunHistory, expected: Expected) -> Found:
    """Every key that the cloud left in its store has a time to live."""
    for key in history.lasting_keys:
        yield Violation("what is stored expires", -1, 0.0, f"{key} would stay for ever")


def only_abstracts_leave(history: RunHistory, expected: Expected) -> Found:
    """A device sends its abstract, the step, the bundle, and headers that tell nothing more."""
    for row in history.attempts.iter_rows(named=True):
        fields, headers = set(row["fields"].split(",")), set(row["headers"].split(","))
        problems = sorted(fields - ALLOWED_FIELDS)
        problems += sorted(f"header {name}" for name in headers - ALLOWED_HEADERS)
        if not row["clean"]:
            problems.append("an abstract that tells more than it should")
        if "/" in row["user"]:
            problems.append(f"a request to {row['user']}")
        if problems:
            what = f"sent {', '.join(problems)}"
            yield Violation(
                "only abstracts leave a device", user_index(row["user"]), row["sent_s"], what
            )


def refusals_are_told(history: RunHistory, expected: Expected) -> Found:
    """Refused work (429, 503) is told when to come back, and who comes back is served.

    Who was refused and asked again in quiet times, once all waiting was over, had a success.
    """
    refused = history.attempts.filter(pl.col("status").is_in([429, 503]))
    for row in refused.filter(~pl.col("retry_after")).iter_rows(named=True):
        what = f"{row['status']} without Retry-After"
        user = user_index(row["user"])
        yield Violation("refusals are told", user, row["done_s"], what)
    patience = expected.retry_after_s + expected.deadline_s + expected.breaker_open_s
    for (name,), own in history.attempts.group_by("user"):
        turned = own.filter(pl.col("status").is_in([429, 503]))
        if turned.is_empty() or not expected.quiet:
            continue
        start, end = expected.quiet[-1]
        later = own.filter(
            (pl.col("sent_s") >= max(start, turned["done_s"].min()) + patience)  # type: ignore[type-var, operator]
            & (pl.col("done_s") < end)
            & (pl.col("status") != CANCELLED)
        )
        if len(later) >= 2 and not (later["status"] == 200).any():
            what = f"refused, and none of {len(later)} later attempts in quiet times succeeded"
            index = user_index(str(name))
            yield Violation("refusals are told", index, later["sent_s"].max(), what)  # type: ignore[arg-type]


def refreshes_flow_again(history: RunHistory, expected: Expected) -> Found:
    """Within one breaker window of a fault's end, a link that is asked gets through again.

    A refresh begun in the fault may fail up to its deadline after the end and open the breaker
    once more; from then on the breaker stays open for its window, then probes.
    """
    links = dict(
        history.attempts.with_columns(
            pl.col("user").map_elements(user_index, return_dtype=pl.Int64).alias("index")
        )
        .select("index", "link")
        .unique()
        .iter_rows()
    )
    known = history.refreshes.with_columns(
        pl.col("user").cast(pl.Int64).replace_strict(links, default=-1).alias("link")
    ).filter(pl.col("link") >= 0)
    settle = expected.deadline_s + expected.breaker_open_s
    for start, end in expected.quiet:
        begun = known.filter((pl.col("started_s") > start + settle) & (pl.col("finished_s") < end))
        for (link,), own in begun.group_by("link"):
            first = own.sort("finished_s").filter(~_probe_under_way(own))
            if first.is_empty():
                continue
            row = first.row(0, named=True)
            if row["outcome"] in ("breaker", "network", "deadline"):
                what = (
                    f"link {link}: still {row['outcome']} {row['started_s'] - start:.1f} s after "
                    "the fault's end"
                )
                yield Violation("refreshes flow again", row["user"], row["started_s"], what)


def _probe_under_way(refreshes: pl.DataFrame) -> pl.Series:
    """Which refreshes were turned away because another one was just finding out."""
    outcomes = refreshes["outcome"].to_list()
    started, finished = numbers(refreshes, "started_s"), numbers(refreshes, "finished_s")
    busy = [
        outcome == "breaker"
        and bool(np.any((started <= at) & (finished > at) & (finished > started)))
        for outcome, at in zip(outcomes, started, strict=True)
    ]
    return pl.Series(busy, dtype=pl.Boolean)


def _int(key: object) -> int:
    return int(str(key))
