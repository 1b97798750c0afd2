"""How a text file separates its fields, and whether its first line names them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.errors import DataError
from training.data.reading.streams import first_line, read_content

_OLDER = ("::", "|")  # separate the fields of releases of before UTF-8 was usual
_DATA = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?|\d{4}-\d{2}-\d{2}([T ].*)?")


@dataclass(frozen=True)
class Dialect:
    """How a text file separates its fields.

    Attributes:
        separator: the characters between fields.
        quoted: whether a field may stand in double quotes.
        header: the columns of a file without a header.
        encoding: of the text.
        escape: character before a separator or quote that belongs to the field, if there is one.
    """

    separator: str
    quoted: bool
    header: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    escape: str | None = None


TSV = Dialect("\t", quoted=False)


def recognised(path: Path, named: Sequence[str] = ()) -> Dialect:
    """The dialect that the first line shows.

    A first line that holds a number or a date is no header: the columns are then called "1", "2"
    and so on.

    Args:
        named: columns that somebody asked for.

    Raises:
        DataError: there is no header, but ``named`` are names; or the file cannot be read.
    """
    head = first_line(path)
    dialect = _separated(head)
    fields = _fields(head, dialect)
    numbers = tuple(str(place) for place in range(1, len(fields) + 1))
    if len(fields) < 2 or not any(_DATA.fullmatch(field.strip()) for field in fields):
        return dialect
    if named and not set(named) <= set(numbers):
        if set(named) & set(fields):
            return dialect
        raise DataError(
            f"its first line ({head[:80]}) is no header; name its columns by their numbers, "
            "e.g. --columns user=1,item=2,time=4",
            path,
            1,
        )
    if dialect.separator in _OLDER:
        dialect = replace(dialect, encoding=_encoding(path))
    return replace(dialect, header=numbers)


def _encoding(path: Path) -> str:
    try:
        read_content(path).decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _separated(head: str) -> Dialect:
    if "\t" in head:
        return TSV
    # A comma further on may stand in a title; spreadsheets of some countries write semicolons.
    for separator in ("::", ";", "|"):
        first, found, _ = head.partition(separator)
        if found and "," not in (head if separator == ";" else first):
            return Dialect(separator, quoted=separator == ";")
    return Dialect(",", quoted=True)


def _fields(head: str, dialect: Dialect) -> list[str]:
    if not dialect.quoted:
        return head.split(dialect.separator)
    try:
        return next(csv.reader([head], delimiter=dialect.separator), [])
    except csv.Error:
        return []
