"""Outcomes of refreshes as people read them: what came of it, and why where that is not plain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ANSWERED = ("fresh", "stale")  # outcomes that brought a snapshot
UNSTORED = "unstored"


def outcome_name(outcome: str, reason: str | None = "") -> str:
    """``fresh``, ``unstored``, ``rejected: bundle-mismatch``, ...; what counts are kept under."""
    if reason == UNSTORED:
        return UNSTORED
    return f"{outcome}: {reason}" if reason else outcome


def counted(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, most frequent first."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def brought_a_snapshot(name: str) -> bool:
    """Whether refreshes counted under this name gave the device a snapshot."""
    return name in (*ANSWERED, UNSTORED)


def in_words(counts: Mapping[str, int]) -> str:
    """``60 fresh, 12 unstored, 8 rejected: bundle-mismatch``."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"
