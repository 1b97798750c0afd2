"""Rows of the same user, item and time: one event written twice, or several at coarse times."""

from __future__ import annotations

from typing import Literal

import polars as pl

Duplicates = Literal["auto", "keep", "drop"]
# What times are whole numbers of; the largest first.
_GRAINS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"))

_NEARLY = 0.99  # share of times; one exact time among days does not make its neighbours copies


def without_repeats(
    events: pl.DataFrame, duplicates: Duplicates
) -> tuple[pl.DataFrame, tuple[str, ...], int]:
    """Events with or without repeated rows, what was done with them in words, and their number.

    Args:
        events: columns user, item and time.
        duplicates: auto keeps them where times are too coarse to tell one event from another.
    """
    whole = events.unique(subset=["user", "item", "time"], keep="first", maintain_order=True)
    repeated = len(events) - len(whole)
    if not repeated:
        return events, (), 0
    share = f"{repeated:,} duplicate rows ({repeated / len(events):.1%}; same user, item and time)"
    grain = _grain(events["time"])
    if duplicates == "drop" or (duplicates == "auto" and not grain):
        return whole, (f"{share} dropped",), repeated
    if duplicates == "keep":
        return events, (f"{share} kept",), repeated
    told = (
        f"{share} kept: times are whole {grain}, which events may share; log.duplicates=drop "
        "drops them"
    )
    return events, (told,), repeated


def _grain(times: pl.Series) -> str:
    """What nearly all times are whole numbers of, in some zone; "" for seconds or less."""
    for size, words in _GRAINS:
        rests = (times % size).value_counts(sort=True)
        if rests["count"][0] >= _NEARLY * len(times):
            return words
    return ""
