"""A log somebody brings: csv, tsv (plain or gzip) or parquet, columns named by ``--columns``."""

from __future__ import annotations

import functools
from pathlib import Path

import polars as pl

from shared.interactions import InteractionLog
from training.data.columns import ColumnSpec, guess_columns, parse_columns
from training.data.items import JOINED_ID, joined_ids, read_items
from training.data.tables import FileColumns, read_table
from training.data.text import UNKNOWN_ITEM, Item, describe, in_words, tells_words
from training.data.validate import build_log


def load(
    path: Path, *, name: str, columns: str | None, items: Path | None, min_events: int
) -> InteractionLog:
    """Read a log of one's own.

    Args:
        path: one interaction a row, with a header.
        name: what to call the log.
        columns: as ``columns.SYNTAX``; None: by the usual column names.
        items: a file with item ids and text, see ``items.read_items``.
        min_events: users with fewer events are dropped.

    Raises:
        ConfigError: ``columns`` cannot be read.
        DataError: a file is malformed, named by file and line.
    """
    spec = None if columns is None else parse_columns(columns)
    used, events, row_items = read_table(path, lambda table: _parse(table, spec))
    known = row_items if used.text or len(used.item) > 1 else None
    if items is not None:
        known = row_items | read_items(items, used.item)
    notes = () if used.time else ("no times: the order of the file is the order of events",)
    return build_log(name, events, known, min_events=min_events, source=path, notes=notes)


def parse_events(table: FileColumns, spec: ColumnSpec) -> pl.DataFrame:
    """Columns user, item and, if given, time, utc_offset_min and session; see ``build_log``."""
    columns = {"user": table.ids(spec.user), "item": joined_ids(table, spec.item)}
    if spec.time is not None:
        columns["time"], offset = table.times(spec.time)
        if offset is not None:
            columns["utc_offset_min"] = offset
    if spec.session is not None:
        columns["session"] = table.texts(spec.session)
    return pl.DataFrame(columns)


def _parse(
    table: FileColumns, spec: ColumnSpec | None
) -> tuple[ColumnSpec, pl.DataFrame, dict[str, Item]]:
    spec = spec or guess_columns(table.columns, table.path)
    events = parse_events(table, spec)
    return spec, events, _items_in_rows(table, spec, events["item"])


def _items_in_rows(table: FileColumns, spec: ColumnSpec, item: pl.Series) -> dict[str, Item]:
    """Items described by the rows themselves: text=X, or the parts of a joined item.

    A coordinate, a price or a key names an item and says nothing of it: columns that do not hold
    words are left out, and of the others' parts those that are none.
    """
    if len(spec.item) == 1 and not spec.text:
        return {}
    columns = (table.texts(name) for name in spec.text)
    worded = [column for column in columns if tells_words(column.drop_nulls().to_list(), in_words)]
    words = {str(number): column for number, column in enumerate(worded)}
    first = pl.DataFrame({"item": item, **words}).unique("item", keep="first")
    rows = [(item_id, item_id.split(JOINED_ID), texts) for item_id, *texts in first.iter_rows()]
    told = [tells_words(parts) for parts in zip(*(parts for _, parts, _ in rows), strict=True)]
    may_stand = functools.cache(in_words)
    items = {}
    for item_id, parts, texts in rows:
        given = [text for text in texts if text]
        if len(parts) > 1:
            said = [part for part, of_words in zip(parts, told, strict=True) if of_words]
            title = " - ".join(part for part in said if may_stand(part)) or UNKNOWN_ITEM
            items[item_id] = describe(title, more=". ".join(given))
        elif given:
            items[item_id] = describe(given[0], more=". ".join(given[1:]))
    return items
