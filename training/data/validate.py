"""From parsed events of any source to a validated InteractionLog; what was dropped is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from shared.errors import DataError
from shared.interactions import Catalogue, InteractionLog
from shared.log_reading import LogReading
from training.data.figures import wordless
from training.data.overlap import check_overlap
from training.data.private import common_categories, queries_without_users, without_users
from training.data.repeats import Duplicates, without_repeats
from training.data.text import UNKNOWN_ITEM, Item, from_id
from training.data.tied_times import without_item_order


def build_log(
    name: str,
    events: pl.DataFrame,
    items: Mapping[str, Item] | None,
    *,
    min_events: int,
    source: Path,
    terms: str = "",
    notes: tuple[str, ...] = (),
    duplicates: Duplicates = "auto",
    overlap_told: bool = False,
) -> InteractionLog:
    """Check, order and index events.

    Args:
        name: short name of the log.
        events: columns ``user`` and ``item`` (String) and, if known, ``time`` (Float64 Unix
            seconds), ``utc_offset_min`` (Int16), ``query`` (String, sanitised, "" where there is
            none) and ``session`` (any type: consecutive events of a user with one value are a
            session); n rows in the source's order.
        items: what is known of each item id; None when the source says nothing of items.
        min_events: users with fewer events are dropped.
        source: the file, for messages.
        duplicates: what becomes of rows with the same user, item and time.
        overlap_told: ``notes`` say already how many items there is text of.

    Raises:
        DataError: no event or no user is left, with the counts.
    """
    said = list(notes)
    if events.is_empty():
        raise DataError("no interactions in the file; is it the right one (--log)?", source)
    timed, rows = "time" in events.columns, len(events)
    # Numbers stand for ids as soon as they can: texts of all rows are slow, and take much memory.
    everybody, everything = _natural_order(events["user"]), _natural_order(events["item"])
    events = events.with_columns(
        _numbers(events["user"], everybody), _numbers(events["item"], everything)
    )
    repeated: int | None = None
    if timed:
        events, told, repeated = without_repeats(events, duplicates)
        said.extend(told)
    dropped = len(events) < rows
    events, n_before = _frequent_users(events, min_events)
    n_users = events["user"].n_unique()
    if n_users == 0:
        raise DataError(
            f"none of its {n_before:,} users has {min_events} or more interactions; "
            "lower log.min_events or bring a longer log",
            source,
        )
    if n_users < n_before:
        said.append(f"{n_before - n_users:,} users with fewer than {min_events} events dropped")
    if "query" in events.columns:
        events = events.with_columns(query=queries_without_users(events["query"], everybody))
    user, user_ids = _present(events["user"], everybody)
    item, item_ids = _present(events["item"], everything)
    events = events.with_columns(user, item)
    if timed:
        back = events.select("user", back=pl.col("time").diff().over("user") < 0)
        if unsorted := back.filter("back")["user"].n_unique():
            said.append(f"events of {unsorted:,} users were not in time order; sorted")
    events = events.sort(["user", "time"] if timed else ["user"], maintain_order=True)
    if timed:
        events, told = without_item_order(events, item_ids)
        said.extend(told)
    catalogue, remarks = _catalogue(item_ids, items, source, told=overlap_told)
    catalogue, cut = without_users(catalogue, everybody)
    if cut:
        remarks.append(f"{cut:,} items named a user of the log in their words; cut out")
    users, taken = events["user"].to_numpy(), events["item"].to_numpy()
    catalogue = replace(catalogue, vocabulary=common_categories(catalogue, users, taken))
    return InteractionLog(
        name=name,
        user=users.astype(np.int32),
        item=taken.astype(np.int32),
        time=events["time"].to_numpy().astype(np.float64) if timed else None,
        utc_offset_min=_offsets(events),
        query=tuple(events["query"]) if "query" in events.columns else None,
        user_ids=tuple(user_ids),
        catalogue=catalogue,
        terms=terms,
        notes=(*said, *remarks),
        session=_sessions(events),
        reading=LogReading(
            rows=rows,
            duplicates=repeated,
            duplicates_dropped=dropped,
            items_told=None if items is None else sum(item in items for item in item_ids),
            items_unused=len(items.keys() - set(item_ids)) if items else 0,
        ),
    )


def _frequent_users(events: pl.DataFrame, min_events: int) -> tuple[pl.DataFrame, int]:
    """Events of users with enough of them, and the number of users before."""
    n_users = events["user"].n_unique()
    return events.filter(pl.len().over("user") >= min_events), n_users


def _natural_order(ids: pl.Series) -> list[str]:
    """Distinct ids, numbers by value and before words, so that an index never depends on order."""
    numbers = (
        ids.unique().to_frame("id").with_columns(number=pl.col("id").cast(pl.Int64, strict=False))
    )
    return numbers.sort(["number", "id"], nulls_last=True)["id"].to_list()


def _numbers(values: pl.Series, ids: list[str]) -> pl.Series:
    """Each value's place in ``ids``, which are all values there are."""
    return values.cast(pl.Enum(ids)).to_physical().cast(pl.Int32)


def _present(numbers: pl.Series, ids: list[str]) -> tuple[pl.Series, list[str]]:
    """Numbers without gaps, and the ids that they stand for."""
    there = numbers.unique().sort().to_numpy()
    new = np.zeros(len(ids), dtype=np.int32)
    new[there] = np.arange(len(there))
    return pl.Series(numbers.name, new[numbers.to_numpy()]), [ids[place] for place in there]


def _offsets(events: pl.DataFrame) -> np.ndarray | None:
    if "utc_offset_min" not in events.columns:
        return None
    return events["utc_offset_min"].to_numpy().astype(np.int16)


def _sessions(events: pl.DataFrame) -> np.ndarray | None:
    """Sessions of each user counted from 0, whatever the source calls them."""
    if "session" not in events.columns:
        return None
    numbered = events.select(pl.col("session").rle_id().over("user").cast(pl.Int64))
    return numbered["session"].to_numpy()


def _catalogue(
    ids: list[str], items: Mapping[str, Item] | None, source: Path, *, told: bool
) -> tuple[Catalogue, list[str]]:
    remarks = []
    if items is not None:
        if not told:
            remarks.append(check_overlap(ids, items, source))
        if unused := len(items.keys() - set(ids)):
            remarks.append(f"{unused:,} items without an interaction left out")
    known = items or {}
    rows = [known.get(item_id) or from_id(item_id) for item_id in ids]
    catalogue = Catalogue(
        ids=tuple(ids),
        titles=tuple(row.title for row in rows),
        categories=tuple(row.categories for row in rows),
        areas=tuple(row.area for row in rows),
        texts=tuple(row.text or row.title for row in rows),
    )
    if silent := int(wordless(catalogue).sum()):
        remarks.append(
            f"{silent:,} items have no words, only an id: they count as "
            f"{UNKNOWN_ITEM!r} and the text model cannot tell them apart"
        )
    return catalogue, remarks
