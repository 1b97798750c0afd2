"""Delimited text and parquet as tables of columns, with bad rows named by file and line.

Text is read by polars. Only when polars, or whoever uses the rows, refuses something is the file
read again, row by row, so that the error can name the exact line without slowing good files down.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeVar, cast

import polars as pl

from shared.errors import DataError
from training.data.times import EXPECTED, parse_times

T = TypeVar("T")
MAX_OFFSET_MIN = 14 * 60  # UTC+14 is the largest offset in use
_PARQUET_MAGIC = "PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Dialect:
    """How a text file separates its fields.

    Attributes:
        separator: the character between fields.
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


class _LineUnknown(Exception):
    """Signal to read row by row: a row was refused or looks short, or polars cannot read it."""


@dataclass(frozen=True)
class FileColumns:
    """Columns of one file.

    Attributes:
        path: the file.
        frame: the columns; all strings (null where empty) if the file is text.
        lines: 1-based line (text, header included) or row (parquet) of each row, if known.
    """

    path: Path
    frame: pl.DataFrame
    lines: pl.Series | None

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    def column(self, name: str) -> pl.Series:
        """The column as it is; raises DataError naming the columns there are."""
        if name not in self.frame.columns:
            raise DataError(f"no column {name!r}; it has {', '.join(self.columns)}", self.path)
        return self.frame[name]

    def texts(self, name: str) -> pl.Series:
        """The column as strings, null where empty."""
        column = self.column(name)
        if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
            raise DataError(f"column {name!r} holds {column.dtype}, not text", self.path)
        if column.dtype.is_float() and (column.drop_nulls() % 1 == 0).all():
            # Integer ids that passed through a float column: 12.0 is the id 12.
            column = column.cast(pl.Int64, strict=False)
        text = column.cast(pl.String).str.strip_chars()
        return text.set(text == "", None)

    def ids(self, name: str) -> pl.Series:
        """The column as strings; an empty one is a bad row."""
        ids = self.texts(name)
        self.refuse(ids.is_null(), lambda row: f"column {name!r} is empty")
        return ids

    def times(self, name: str) -> tuple[pl.Series, pl.Series | None]:
        """Unix seconds, and UTC offsets in minutes if given; an unreadable time is a bad row."""
        column = self.column(name)
        if column.dtype.is_nested():
            raise DataError(f"column {name!r} holds {column.dtype}, not times", self.path)
        seconds, offset = parse_times(column)
        self.refuse(
            seconds.is_null(),
            lambda row: f"column {name!r} is {_shown(column[row])}, not a time ({EXPECTED})",
        )
        if offset is not None:
            self.refuse(
                offset.is_null() | (offset.abs() > MAX_OFFSET_MIN),
                lambda row: f"column {name!r} is {_shown(column[row])}: no such UTC offset",
            )
        return seconds, offset

    def refuse(self, bad: pl.Series, message: Callable[[int], str]) -> None:
        """Raise DataError with ``message(row)`` for the first row where ``bad`` is true."""
        if (row := bad.arg_max()) is not None and bad[row]:
            if self.lines is None:
                raise _LineUnknown
            raise DataError(message(row), self.path, int(self.lines[row]))


def read_text(path: Path, dialect: Dialect, parse: Callable[[FileColumns], T]) -> T:
    """``parse`` of the table in a text file (plain or gzip).

    Raises:
        DataError: the file cannot be read, is not text, or ``parse`` refused it; names the line.
    """
    try:
        return parse(_read_fast(path, dialect))
    except (_LineUnknown, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return parse(_read_slowly(path, dialect))


def read_table(path: Path, parse: Callable[[FileColumns], T]) -> T:
    """``parse`` of the table in a parquet, csv or tsv file, told apart by content.

    Raises:
        DataError: as ``read_text`` and ``read_parquet`` do.
    """
    head = first_line(path)
    if head.startswith(_PARQUET_MAGIC):
        return parse(read_parquet(path))
    if "\t" in head:
        return read_text(path, TSV, parse)
    # Spreadsheets of some countries write semicolons into files they call csv.
    separator = ";" if ";" in head and "," not in head else ","
    return read_text(path, Dialect(separator, quoted=True), parse)


def read_parquet(path: Path) -> FileColumns:
    """The table in a parquet file; raises DataError when it is not one."""
    try:
        frame = pl.read_parquet(path.read_bytes())
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"not a readable parquet file: {error}", path) from error
    return FileColumns(path, frame, pl.Series(range(1, len(frame) + 1), dtype=pl.Int64))


def read_content(path: Path) -> bytes:
    """The file's bytes, unpacked if it is gzip; raises DataError when it cannot be read."""
    with _reading(path), _open(path) as stream:
        return stream.read()


def first_line(path: Path, encoding: str = "latin-1") -> str:
    """The first line, at most 64 KiB of it, without its end; "" for an empty file."""
    with _reading(path), _open(path) as stream:
        return stream.readline(1 << 16).decode(encoding, "replace").rstrip("\r\n")


def numbered_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """(1-based number, text) of every line; raises DataError naming the one that is not text."""
    with _reading(path), _open(path) as stream:
        for line, raw in enumerate(stream, 1):
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                raise DataError(f"not {encoding} text: {error.reason}", path, line) from error
            yield line, text.removeprefix("\ufeff") if line == 1 else text


def records(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """(1-based line, fields) of every non-blank record; raises DataError naming the line."""
    line = 0

    def lines() -> Iterator[str]:
        nonlocal line
        for number, text in numbered_lines(path, dialect.encoding):
            line = number
            yield text

    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
    reader = csv.reader(
        lines(),
        delimiter=dialect.separator,
        quoting=quoting,
        escapechar=dialect.escape,
        strict=True,
    )
    while True:
        start = line + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"not a {_kind(dialect)} row: {error}", path, start) from error
        if fields and any(fields):
            yield start, fields


def _read_fast(path: Path, dialect: Dialect) -> FileColumns:
    header = _header(path, dialect)
    content = read_content(path)
    if dialect.escape and dialect.escape.encode() in content:
        raise _LineUnknown  # polars knows no escapes
    if dialect.encoding != "utf-8":
        content = content.decode(dialect.encoding).encode()
    frame = pl.read_csv(
        io.BytesIO(content),
        has_header=dialect.header is None,
        separator=dialect.separator,
        quote_char='"' if dialect.quoted else None,
        infer_schema=False,
    )
    # polars fills short rows with nulls and keeps blank lines: both show in the last column.
    if frame.width != len(header) or frame.is_empty() or frame[frame.columns[-1]].null_count():
        raise _LineUnknown
    return FileColumns(path, frame.rename(dict(zip(frame.columns, header, strict=True))), None)


def _read_slowly(path: Path, dialect: Dialect) -> FileColumns:
    rows = records(path, dialect)
    header = _header(path, dialect)
    if dialect.header is None:
        next(rows)
    lines: list[int] = []
    columns: list[list[str | None]] = [[] for _ in header]
    for line, fields in rows:
        if len(fields) != len(header):
            message = f"{len(fields)} fields where there should be {len(header)}"
            raise DataError(f"{message} ({', '.join(header)})", path, line)
        lines.append(line)
        for column, value in zip(columns, fields, strict=True):
            column.append(value or None)
    data = {
        name: pl.Series(name, c, dtype=pl.String) for name, c in zip(header, columns, strict=True)
    }
    return FileColumns(path, pl.DataFrame(data), pl.Series(lines, dtype=pl.Int64))


def _header(path: Path, dialect: Dialect) -> tuple[str, ...]:
    if dialect.header is not None:
        return dialect.header
    line, fields = next(records(path, dialect), (None, []))
    if not fields:
        raise DataError("the file is empty", path)
    header = tuple(field.strip() for field in fields)
    if len(set(header)) != len(header):
        raise DataError(f"a column name occurs twice: {', '.join(header)}", path, line)
    return header


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what the file system or gzip says of ``path`` into DataError."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"damaged or truncated gzip file: {error}", path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP_MAGIC
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")


def _kind(dialect: Dialect) -> str:
    return "csv" if dialect.quoted else "delimited"


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    text = str(value)
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
