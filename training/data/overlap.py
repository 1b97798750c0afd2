"""Whether the ids of a log and those of its item text meet, and why they may not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from shared.errors import DataError

LEAST = 0.01  # share of a log's items that its item text must know
_USUAL = 0.9  # below it a cause is looked for
# What makes ids of one kind look like two, and how to see through it.
_CAUSES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("one of them lost leading zeros", lambda text: text.lstrip("0")),
    ("one of them was written as decimals (7.0 for 7)", lambda text: text.removesuffix(".0")),
    ("they differ in upper and lower case", str.lower),
    ("one of them stands in quotes", lambda text: text.strip("'\" ")),
    ("one of them has a prefix", lambda text: text[_digits_from(text) :].lstrip("0")),
)


def check_overlap(log_ids: Iterable[str], told: Collection[str], source: Path) -> str:
    """How many of a log's items the item text knows, in a sentence.

    Args:
        log_ids: of the log's items.
        told: ids of the items that there is text of.
        source: the file of item text, for messages.

    Raises:
        DataError: nearly none; names what is likely the cause.
    """
    ours, theirs = set(log_ids), set(told)
    met = len(ours & theirs)
    share = met / len(ours) if ours else 1.0
    said = f"{met:,} of the log's {len(ours):,} items ({share:.1%}) have item text"
    cause = "" if share >= _USUAL else _cause(ours, theirs, share)
    if share >= LEAST and met:
        return f"{said}; {cause}" if cause else said
    a, b = (", ".join(sorted(ids)[:3]) or "none" for ids in (ours, theirs))
    raise DataError(
        f"only {said}: {cause or 'they are ids of different things, or of another column'}. The "
        f"log has ids like {a}; the item text like {b}. Make them the same, or leave the item "
        "text out",
        source,
    )


def _cause(ours: set[str], theirs: set[str], share: float) -> str:
    """The first cause without which clearly more ids would meet."""
    for words, seen in _CAUSES:
        known = {seen(text) for text in theirs}
        would = sum(seen(text) in known for text in ours) / len(ours)
        if would > share + 0.1:
            return f"likely {words}: but for that {would:.0%} would"
    return ""


def _digits_from(text: str) -> int:
    return next((place for place, letter in enumerate(text) if letter.isdigit()), 0)
