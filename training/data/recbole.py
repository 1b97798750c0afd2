"""RecBole atomic files: ``NAME.inter`` with a typed header, ``NAME.item`` beside it.

Format: https://recbole.io/docs/user_guide/data/atomic_files.html (tab separated; every header
field is ``name:type`` with type token, token_seq, float or float_seq).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.columns import ColumnSpec, guess_columns, parse_columns
from training.data.custom import parse_events
from training.data.file_columns import FileColumns
from training.data.items import parse_items, read_items
from training.data.reading.bad_rows import BadRows, Policy
from training.data.reading.dialects import TSV
from training.data.repeats import Duplicates
from training.data.tables import read_text
from training.data.text import Item
from training.data.validate import build_log

SUFFIX = ".inter"
_TYPES = ("token", "token_seq", "float", "float_seq")


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
    """Read an .inter file; ``items`` defaults to the .item file beside it, if there is one.

    Args and errors as in ``custom.load``; ``columns`` names fields without their types.
    """
    spec = None if columns is None else parse_columns(columns)

    def parse(table: FileColumns) -> tuple[ColumnSpec, pl.DataFrame]:
        bare, _ = _untyped(table)
        used = spec or guess_columns(bare.columns, path)
        return used, bare.usable(parse_events(bare, used))

    bad = BadRows(bad_rows, offered=True)
    used, events = read_text(path, TSV, parse, bad)
    beside = path.with_suffix(".item")
    known: dict[str, Item] | None = None
    if items is not None and items.suffix != ".item":
        known = read_items(items, used.item)
    elif items is not None or beside.exists():
        known = read_text(items or beside, TSV, lambda table: _parse_items(table, used))
    notes = () if used.time else ("no times: the order of the file is the order of events",)
    return build_log(
        name,
        events,
        known,
        min_events=min_events,
        source=path,
        notes=(*notes, *bad.notes()),
        duplicates=duplicates,
    )


def _untyped(table: FileColumns) -> tuple[FileColumns, dict[str, str]]:
    """The table under bare field names, and the type of each."""
    types = {}
    for field in table.columns:
        name, colon, kind = field.partition(":")
        if not colon or kind not in _TYPES:
            message = f"header field {field!r} is not name:type with type {', '.join(_TYPES)}"
            raise DataError(message, table.path, 1)
        if name in types:
            raise DataError(f"field {name!r} occurs twice", table.path, 1)
        types[name] = kind
    names = dict(zip(table.columns, types, strict=True))
    return replace(table, frame=table.frame.rename(names)), types


def _parse_items(table: FileColumns, used: ColumnSpec) -> dict[str, Item]:
    bare, types = _untyped(table)
    ids = used.item if set(used.item) <= types.keys() else (bare.columns[0],)
    words = {
        name: role
        for name, kind in types.items()
        if name not in ids and (role := _role(name, kind))
    }
    # A sequence of category tokens is separated by spaces; names and texts are words in order.
    spaced = [name for name, role in words.items() if role == "category"]
    frame = bare.frame.with_columns(pl.col(name).str.replace_all(" ", "|") for name in spaced)
    return parse_items(replace(bare, frame=frame), ids, words)


def _role(name: str, kind: str) -> str:
    if kind.startswith("float"):
        return ""
    if any(word in name.lower() for word in ("title", "name")):
        return "title"
    if any(word in name.lower() for word in ("class", "genre", "categor", "tag")):
        return "category" if kind == "token_seq" else "more"
    return "more"
