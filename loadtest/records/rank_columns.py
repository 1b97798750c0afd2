"""The two columns that a rank takes in records: its mean place, and how many items share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from loadtest.records.record_table import numbers
from shared.metrics import Rank, Ranks, as_ranks

PLACE, TIED = "rank", "tied"  # a column's name, or what it begins with


def rank_fields(ranks: Mapping[str, Rank]) -> dict[str, Any]:
    """Fields of a record by name: ``rank_NAME`` and ``tied_NAME`` for each of the ranks."""
    places = {f"{PLACE}_{name}": rank.expected for name, rank in ranks.items()}
    return places | {f"{TIED}_{name}": rank.tied for name, rank in ranks.items()}


def tied_column(rank_column: str) -> str:
    """The column beside ``rank`` or ``rank_NAME``."""
    return TIED + rank_column.removeprefix(PLACE)


def read_ranks(frame: pl.DataFrame, rank_column: str) -> Ranks:
    """[n] of a column and the one beside it.

    Records older than that one know mean places only: each counts as one item's own.
    """
    tied = tied_column(rank_column)
    if tied not in frame.columns:
        return as_ranks(numbers(frame, rank_column))
    return as_ranks(numbers(frame, rank_column), frame[tied].fill_null(1).to_numpy())
