"""A log somebody brings: delimited text, JSON lines or parquet, columns named by ``--columns``."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import polars as pl

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.columns import ColumnSpec, guess_columns, parse_columns
from training.data.file_columns import FileColumns
from training.data.items import JOINED_ID, joined_ids, read_items
from training.data.overlap import check_overlap
from training.data.reading.bad_rows import BadRows, Policy
from training.data.reading.parts import parts_of
from training.data.repeats import Duplicates
from training.data.tables import read_table
from training.data.text import UNKNOWN_ITEM, Item, describe, in_words, tells_words
from training.data.validate import build_log


def load(
    path: Path,
    *,
    name: str,
    columns: str | None,
    items: Path | None,
    min_events: int,
    bad_rows: Policy = "refuse",
    duplicates: Duplicates = "auto",
) -> InteractionLog:
    """Read a log of one's own.

    Args:
        path: one interaction a row; or a folder or pattern of such files, read in their names'
            order.
        name: what to call the log.
        columns: as ``columns.SYNTAX``; None: by the usual column names.
        items: a file with item ids and text, see ``items.read_items``.
        min_events: users with fewer events are dropped.
        bad_rows, duplicates: see the settings.

    Raises:
        ConfigError: ``columns`` cannot be read.
        DataError: a file is malformed, named by file and line.
    """
    spec = None if columns is None else parse_columns(columns)
    bad, parts = BadRows(bad_rows, offered=True), parts_of(path)
    frames: list[pl.DataFrame] = []
    row_items: dict[str, Item] = {}
    notes: list[str] = []
    used = spec
    for part in parts:
        found, events, described = read_table(
            part,
            partial(_parse, spec=used, notes=notes),
            named=() if used is None else used.names,
            bad=bad,
        )
        used = used or found
        frames.append(events)
        row_items = described | row_items
    if used is None:
        raise DataError("no file of a log is there", path)
    if len(parts) > 1:
        notes.append(f"{len(parts):,} parts, read in the order of their names")
    if not used.time:
        notes.append("no times: the order of the file is the order of events")
    events = pl.concat(frames, how="diagonal")
    if "utc_offset_min" in events.columns:
        events = events.with_columns(pl.col("utc_offset_min").fill_null(0))
    known = row_items if used.text or len(used.item) > 1 else None
    if items is not None:
        told = read_items(items, used.item)
        notes.append(check_overlap(events["item"], told, items))
        known = row_items | told
    return build_log(
        name,
        events,
        known,
        min_events=min_events,
        source=path,
        notes=(*notes, *bad.notes()),
        duplicates=duplicates,
        overlap_told=known is not None,
    )


def parse_events(table: FileColumns, spec: ColumnSpec) -> pl.DataFrame:
    """Columns user, item and, if given, time, utc_offset_min and session; see ``build_log``.

    Rows that were refused, where that is no error, are among them; see ``FileColumns.usable``.
    """
    columns = {"user": table.ids(spec.user), "item": joined_ids(table, spec.item)}
    if spec.time is not None:
        columns["time"], offset = table.times(spec.time)
        if offset is not None:
            columns["utc_offset_min"] = offset
    if spec.session is not None:
        columns["session"] = table.texts(spec.session)
    return pl.DataFrame(columns)


def _parse(
    table: FileColumns, *, spec: ColumnSpec | None, notes: list[str]
) -> tuple[ColumnSpec, pl.DataFrame, dict[str, Item]]:
    if spec is None and not table.headed:
        spec = _of_ratings(table)
        notes.append(f"no header: read as user, item{', rating' * (table.frame.width - 3)}, time")
    spec = spec or guess_columns(table.columns, table.path)
    events = parse_events(table, spec)
    described = _items_in_rows(table, spec, events["item"])
    return spec, table.usable(events), described


def _of_ratings(table: FileColumns) -> ColumnSpec:
    """The usual columns of a file of numbers without a header: user, item, perhaps rating, time.

    Raises:
        DataError: it is something else; names its columns by number.
    """
    frame = table.frame
    numeric = all(frame[column].cast(pl.Float64, strict=False).count() for column in frame.columns)
    if not 3 <= frame.width <= 4 or not numeric:
        first = ", ".join(f"{number}={value}" for number, value in frame.row(0, named=True).items())
        raise DataError(
            "no header, and no usual columns; name them by number, e.g. --columns "
            f"user=1,item=2,time=4. The first row is {first}",
            table.path,
        )
    return ColumnSpec(user="1", item=("2",), time=frame.columns[-1])


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
    first = pl.DataFrame({"item": item, **words}).drop_nulls("item").unique("item", keep="first")
    rows = [(item_id, item_id.split(JOINED_ID), texts) for item_id, *texts in first.iter_rows()]
    told = [tells_words(parts) for parts in zip(*(parts for _, parts, _ in rows), strict=True)]
    may_stand = cache(in_words)
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
