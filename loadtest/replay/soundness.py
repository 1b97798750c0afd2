"""What a replay's own counts say against it: notes, and failures that make its figures wrong."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.records.outcomes import UNSTORED, brought_a_snapshot, in_words
from loadtest.replay.replay import ReplayResult

# Beyond this share of refreshes begun while nothing was planned to be wrong, figures are not those
# of the cloud that was asked for.
MOST_UNCOMPUTED = 0.2
# Passing conditions of a cloud under load; every other refusal says that something does not fit.
_PASSING = ("rejected: snapshot",)
# What outages and an open breaker leave in every replay; the table of outcomes counts it.
_USUAL = ("fresh", "network", "breaker", "deadline")


def replay_notes(result: ReplayResult) -> list[str]:
    """What figures cannot tell: refreshes that never began, never ended, or ended otherwise."""
    notes = []
    if result.skipped_refreshes:
        notes.append(
            f"{result.skipped_refreshes:,} refreshes were skipped because too many were in flight; "
            "raise replay.max_refreshes, or the cloud cannot keep up"
        )
    if result.cancelled_refreshes:
        notes.append(f"{result.cancelled_refreshes:,} refreshes were still in flight at the end")
    if any(name not in _USUAL for name in result.outcomes_up):
        asked = sum(result.outcomes_up.values())
        notes.append(
            f"of {asked:,} refreshes begun while the cloud was planned to be up, "
            f"{in_words(result.outcomes_up)}"
        )
    return notes


def replay_failures(result: ReplayResult) -> list[str]:
    """Why the figures are not those of the run that was asked for; none if they are.

    Only refreshes begun while nothing was planned to be wrong count.
    """
    counts = result.outcomes_up
    asked = sum(counts.values())
    answered = sum(n for name, n in counts.items() if brought_a_snapshot(name))
    failures = []
    if asked and not answered:
        failures.append(
            f"no refresh brought a snapshot although the cloud was planned to be up: of {asked:,} "
            f"asked for, {in_words(counts)}"
        )
    for name, n in counts.items():
        if name.startswith("rejected") and name not in _PASSING:
            failures.append(f"{n:,} of {asked:,} refreshes were {_rejected(name)}")
    kept = counts.get("fresh", 0)
    if counts.get(UNSTORED, 0) and not kept:
        failures.append(
            f"the cloud's store took none of {counts[UNSTORED]:,} fresh snapshots: look at its "
            "Redis"
        )
    failed = _not_computed(counts)
    if answered and failed > MOST_UNCOMPUTED * asked:
        failures.append(
            f"the cloud could not compute {failed:,} of {asked:,} snapshots and sent old ones or "
            "none: look at its embedder"
        )
    return failures


def _not_computed(counts: Mapping[str, int]) -> int:
    return sum(n for name, n in counts.items() if name == "stale" or name.startswith("server"))


def _rejected(name: str) -> str:
    match name.partition(": ")[2]:
        case "bundle-mismatch":
            return "rejected because the cloud serves another bundle than the devices hold"
        case "unauthenticated" | "forbidden":
            return "rejected because the cloud does not accept the devices' tokens"
        case "token":
            return "not sent because the devices had no token"
        case other:
            return f"rejected as {other or 'unusable'}"
