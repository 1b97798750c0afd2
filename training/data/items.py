"""Item text from a file of its own: an id column and whatever words stand beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from shared.errors import DataError
from training.data.file_columns import FileColumns
from training.data.tables import read_table
from training.data.text import Item, describe

# By the last word of a column's name: movie_title, venue_category, release_year.
_ROLES = {
    "title": {"title", "name"},
    "category": {"category", "categories", "genre", "genres", "class", "classes", "tags"},
    "area": {"area", "locality", "city", "region", "neighbourhood", "neighborhood"},
}
_IDS = ("item_id", "item", "id", "itemid")
_CATEGORY_SEPARATOR = re.compile(r"\s*[|;>]\s*")
# A list that a program wrote as text: ['Drama', "Children's"].
_LIST = re.compile(r"\[\s*(?:(?:'[^']*'|\"[^\"]*\")(?:\s*,\s*(?:'[^']*'|\"[^\"]*\"))*)?\s*\]")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
# As programs write a missing text; "Null" may be a title, these spellings are none.
_NO_WORDS = ("nan", "NaN", "null", "NULL", "None", "<NA>", "N/A", "n/a", "#N/A", "\\N")
_IGNORED = {"id", "url", "image", "price", "latitude", "longitude", "lat", "lon", "asin", "date"}
_WORD_OR_YEAR = r"[^\W\d_]|^\d{4}$"
JOINED_ID = "\x1f"


def read_items(path: Path, id_columns: tuple[str, ...] = ()) -> dict[str, Item]:
    """Items of a delimited, JSON lines or parquet file.

    Args:
        path: one row per item; of several rows of one item the first counts.
        id_columns: columns that together name the item, where the file has them all; otherwise
            ``item_id``, ``item`` or ``id``, otherwise the first column is the id, as it is
            without a header.

    Raises:
        DataError: the file is malformed, or has no column besides the id.
    """
    return read_table(path, lambda table: parse_items(table, _id_columns(table, id_columns)))


def parse_items(
    table: FileColumns, ids: tuple[str, ...], roles: Mapping[str, str] | None = None
) -> dict[str, Item]:
    """Items of a table; ``roles`` (column -> title, category, area or more) replaces guessing."""
    roles = roles or {name: _role(name) for name in table.columns if name not in ids}
    if not roles:
        raise DataError(
            "it has item ids but no column with text; add titles, or leave log.items (--items) out",
            table.path,
        )
    if not {"title", "category"} & set(roles.values()):
        # Nothing has a usual name: the first column with words is the title.
        first = next((name for name in roles if any(_words(table, name))), "")
        roles = {name: "title" if name == first else "more" for name in roles}
    columns = {
        role: [_words(table, name) for name, its in roles.items() if its == role]
        for role in ("title", "category", "area", "more")
    }
    by_commas = any(map(_lists_by_commas, columns["category"]))
    items: dict[str, Item] = {}
    for row, item_id in enumerate(joined_ids(table, ids)):
        if item_id not in items:
            title, category, area, more = (
                [word for column in columns[role] if (word := column[row])] for role in columns
            )
            items[item_id] = describe(
                title[0] if title else "",
                categories=tuple(c for text in category for c in _several(text, by_commas)),
                area=", ".join(area),
                more=". ".join([*title[1:], *more]),
            )
    return items


def joined_ids(table: FileColumns, names: tuple[str, ...]) -> pl.Series:
    """The item id of each row: the named columns, joined by a character no text holds."""
    parts = [table.ids(name) for name in names]
    if len(parts) == 1:
        return parts[0]
    frame = pl.DataFrame({str(number): part for number, part in enumerate(parts)})
    return frame.select(pl.concat_str(pl.all(), separator=JOINED_ID)).to_series()


def _id_columns(table: FileColumns, wanted: tuple[str, ...]) -> tuple[str, ...]:
    if not table.headed:
        return (table.columns[0],)
    if wanted and set(wanted) <= set(table.columns):
        return wanted
    lowered = {name.lower(): name for name in reversed(table.columns)}
    return (next((lowered[name] for name in _IDS if name in lowered), table.columns[0]),)


def _several(text: str, by_commas: bool) -> list[str]:
    if _LIST.fullmatch(text):
        return [one or other for one, other in _QUOTED.findall(text)]
    return text.split(", ") if by_commas else _CATEGORY_SEPARATOR.split(text)


def _lists_by_commas(texts: list[str | None]) -> bool:
    """Whether commas part categories ("Bars, Pubs"), not words of one ("Arts, Crafts & Sewing").

    Then the same few parts make many lists.
    """
    values = {text for text in texts if text}
    lists = {text for text in values if ", " in text}
    if any(_CATEGORY_SEPARATOR.search(text) for text in values):
        return False
    parts = {part for text in lists for part in text.split(", ")}
    return 2 * len(lists) >= len(values) and len(parts) < len(lists)


def _role(name: str) -> str:
    last = re.split(r"[\s_.]+", name.lower())[-1]
    if last in _IGNORED:
        return ""
    return next((role for role, names in _ROLES.items() if last in names), "more")


def _words(table: FileColumns, name: str) -> list[str | None]:
    """The column's texts; bare numbers, flags and counts, say nothing to a text model."""
    column = table.column(name)
    if column.dtype == pl.List(pl.String):
        return column.list.join("|", ignore_nulls=True).to_list()
    texts = table.texts(name)
    wordless = ~texts.str.contains(_WORD_OR_YEAR) | texts.is_in(_NO_WORDS)
    return texts.set(wordless.fill_null(True), None).to_list()
