"""Delimited text, JSON lines and parquet as tables of columns, bad rows named by file and line.

Text is read by polars. Only when polars, or whoever uses the rows, refuses something is the file
read again, row by row, so that the error can name the exact line without slowing good files down.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import polars as pl

from shared.errors import DataError
from training.data.reading.bad_rows import BadRows
from training.data.reading.dialects import Dialect, recognised
from training.data.reading.json_lines import CHUNK, read_json_lines
from training.data.reading.streams import first_line, numbered_lines, read_content
from training.data.times import EXPECTED, NoTimes, parse_times

T = TypeVar("T")
MAX_OFFSET_MIN = 14 * 60  # UTC+14 is the largest offset in use
# Whole numbers from here on a float cannot tell apart, by its type.
EXACT: dict[object, int] = {pl.Float64(): 2**53, pl.Float32(): 2**24}
_PARQUET_MAGIC = "PAR1"
_UNUSED = b"\x1f"  # stands for a separator of several characters
_SHOWN_CHARS = 60
# What programs write where there is no id; in any case.
MISSING = (
    *("nan", "-nan", "null", "none", "nil", "na", "n/a", "#n/a", "#na", "<na>", "nat", "(null)"),
    *("undefined", "\\n", "(not set)", "[null]", "(none)", "(empty)", "n.a.", "''"),
    "00000000-0000-0000-0000-000000000000",
)
_WHOLE = r"^(-?\d+)\.0+$"  # an integer that passed through a float
_FRACTION = r"^-?\d+\.\d*[1-9]\d*$"
_INVISIBLE = "\ufeff\u200b\u2060"  # left at the ends of ids by programs that join files
_SHORTENED = re.compile(r"-?\d(\.\d+)?[eE]\+?\d{2,}")


class _LineUnknown(Exception):
    """Signal to read row by row: a row was refused or looks short, or polars cannot read it."""


@dataclass(frozen=True)
class FileColumns:
    """Columns of one file.

    Attributes:
        path: the file.
        frame: the columns; all strings (null where empty) if the file is text.
        lines: 1-based line (text, header included) or row (parquet) of each row, if known.
        headed: whether the file names its columns; otherwise they are called "1", "2" and so on.
        bad: what to do with rows that cannot be used.
        refused: rows found bad so far, by number, and what is wrong with each.
        malformed: lines that are no rows at all, and what is wrong with each.
    """

    path: Path
    frame: pl.DataFrame
    lines: pl.Series | None
    headed: bool = True
    bad: BadRows = field(default_factory=BadRows)
    refused: dict[int, str] = field(default_factory=dict)
    malformed: dict[int, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    def column(self, name: str) -> pl.Series:
        """The column as it is; raises DataError naming the columns there are."""
        if name not in self.frame.columns:
            near = difflib.get_close_matches(name, self.columns, n=1)
            meant = f"; did you mean {near[0]!r} (--columns)?" if near else " (--columns)"
            raise DataError(
                f"no column {name!r}; it has {', '.join(self.columns)}{meant}", self.path
            )
        return self.frame[name]

    def texts(self, name: str) -> pl.Series:
        """The column as strings, null where empty."""
        column = self.column(name)
        if column.dtype.is_nested() or column.dtype == pl.Object:
            raise DataError(
                f"column {name!r} holds {column.dtype}, not text; name another (--columns)",
                self.path,
            )
        if column.dtype == pl.Binary:  # as some databases write text into parquet
            try:
                column = column.cast(pl.String)
            except pl.exceptions.PolarsError as error:
                raise DataError(
                    f"column {name!r} holds bytes that are no text", self.path
                ) from error
        if column.dtype.is_float():
            column = self._whole(name, column.fill_nan(None))
        text = column.cast(pl.String).str.strip_chars()
        return text.set(text == "", None)

    def ids(self, name: str) -> pl.Series:
        """The column as strings, ``7.0`` as ``7``; an empty id, or one that means so, is bad."""
        ids = self.texts(name).str.strip_chars(_INVISIBLE).str.normalize("NFC")
        self.refuse(ids.is_null(), lambda row: f"column {name!r} is empty")
        missing = ids.str.to_lowercase().is_in(MISSING)
        self.refuse(missing, lambda row: f"column {name!r} is {ids[row]!r}, which means missing")
        shortened = ids.str.contains(f"^{_SHORTENED.pattern}$")
        if _mostly(ids.str.contains("[A-DF-Za-df-z]")):  # "5E10" among "5A10" is no number
            shortened &= ids.str.contains(r"[.+-]")
        self.refuse(
            shortened, lambda row: f"column {name!r} is {ids[row]!r}, an id that a program rounded"
        )
        if ids.str.contains(_WHOLE).any() and not ids.str.contains(_FRACTION).any():
            ids = ids.str.replace(_WHOLE, "$1")
        return ids

    def _whole(self, name: str, column: pl.Series) -> pl.Series:
        """Floats as the integers they stand for, if all do: 12.0 is the id 12."""
        values = column.drop_nulls()
        if not (values.is_finite() & (values % 1 == 0)).all():
            return column
        if (values.abs() >= EXACT.get(column.dtype, 2**11)).any():
            raise DataError(
                f"column {name!r} holds numbers that a float cannot tell apart; write it as "
                "integers or text",
                self.path,
            )
        return column.cast(pl.Int64)

    def times(self, name: str) -> tuple[pl.Series, pl.Series | None]:
        """Unix seconds, and UTC offsets in minutes if given; an unreadable time is a bad row."""
        column = self.column(name)
        if column.dtype.is_nested():
            raise DataError(
                f"column {name!r} holds {column.dtype}, not times; name another (--columns)",
                self.path,
            )
        try:
            seconds, offset = parse_times(column)
        except NoTimes as error:
            raise DataError(f"column {name!r} {error}", self.path) from error
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
        """Note the rows where ``bad`` is true, or raise DataError with ``message(row)``."""
        rows = bad.fill_null(False).arg_true()
        if rows.is_empty():
            return
        if self.lines is None:
            raise _LineUnknown
        first = int(rows[0])
        if not self.bad.skipping:
            told = self.bad.refusal(message(first), len(rows), len(bad))
            raise DataError(told, self.path, int(self.lines[first]))
        line = int(self.lines[first])
        self.bad.refuse_many(self.path, line, message(first), len(rows), len(bad))
        for row in rows.to_list():
            self.refused.setdefault(row, message(row))

    def usable(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Of a frame made of all rows of this table those that were not refused; counts the rest.

        Raises:
            DataError: more rows are bad than may be skipped.
        """
        if self.lines is None or not (self.refused or self.malformed):
            return frame
        wrong = {int(self.lines[row]): message for row, message in self.refused.items()}
        rows = len(frame) + len(self.malformed)
        self.bad.leave_out(self.path, wrong | self.malformed, rows)
        keep = pl.Series([True]).new_from_index(0, len(frame))
        return frame.filter(keep.scatter(list(self.refused), False))


def read_text(
    path: Path, dialect: Dialect, parse: Callable[[FileColumns], T], bad: BadRows | None = None
) -> T:
    """``parse`` of the table in a text file.

    Args:
        bad: what to do with bad rows; None: refuse them.

    Raises:
        DataError: the file cannot be read, is not text, or ``parse`` refused it; names the line.
    """
    bad = bad or BadRows()
    try:
        return parse(_read_fast(path, dialect, bad))
    except (_LineUnknown, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return parse(_read_slowly(path, dialect, bad))


def read_table(
    path: Path,
    parse: Callable[[FileColumns], T],
    *,
    named: Sequence[str] = (),
    bad: BadRows | None = None,
) -> T:
    """``parse`` of the table in a parquet, JSON lines or delimited file, told apart by content.

    Args:
        named: columns that somebody asked for; others need not be read.
        bad: what to do with bad rows; None: refuse them.

    Raises:
        DataError: as ``read_text`` and ``read_parquet`` do.
    """
    bad = bad or BadRows()
    head = first_line(path)
    if head.startswith(_PARQUET_MAGIC):
        return parse(read_parquet(path, named=named, bad=bad))
    if head.lstrip().startswith("{"):
        frame, lines, malformed = read_json_lines(path, bad, named)
        return parse(FileColumns(path=path, frame=frame, lines=lines, bad=bad, malformed=malformed))
    if head.lstrip().startswith("[{") or head.strip() == "[":
        raise DataError("a JSON list; write one object a line (`jq -c '.[]'`)", path)
    return read_text(path, recognised(path, named), parse, bad)


def read_parquet(
    path: Path, *, named: Sequence[str] = (), bad: BadRows | None = None
) -> FileColumns:
    """The table in a parquet file; raises DataError when it is not one."""
    try:
        content = path.read_bytes()
        there = pl.read_parquet_schema(io.BytesIO(content)) if named else {}
        only = list(dict.fromkeys(named)) if named and set(named) <= set(there) else None
        frame = pl.read_parquet(content, columns=only)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"not a readable parquet file: {error}", path) from error
    lines = pl.Series(range(1, len(frame) + 1), dtype=pl.Int64)
    return FileColumns(path=path, frame=frame, lines=lines, bad=bad or BadRows())


def records(
    path: Path,
    dialect: Dialect,
    bad: dict[int, str] | None = None,
    refusal: Callable[[str], str] = str,
) -> Iterator[tuple[int, list[str]]]:
    """(1-based line, fields) of every non-blank record.

    Args:
        bad: lines that are no records are left out and told here; None: they are refused.
        refusal: makes the error's words of what is wrong.

    Raises:
        DataError: as ``numbered_lines``; naming the line.
    """
    if len(dialect.separator) > 1:
        for number, text in numbered_lines(path, dialect.encoding, bad, refusal):
            if text.strip():
                yield number, text.rstrip("\r\n").split(dialect.separator)
        return
    line = 0

    def lines() -> Iterator[str]:
        nonlocal line
        for number, text in numbered_lines(path, dialect.encoding, bad, refusal):
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
            message = f"not a {_kind(dialect)} row: {error}"
            if bad is None:
                raise DataError(refusal(message), path, start) from error
            # An open quote may have swallowed many lines: each of them counts.
            bad.update(dict.fromkeys(range(start, max(start, line) + 1), message))
            continue
        if fields and any(fields):
            yield start, fields


def _read_fast(path: Path, dialect: Dialect, bad: BadRows) -> FileColumns:
    header = _header(path, dialect)
    content = read_content(path)
    if dialect.escape and dialect.escape.encode() in content:
        raise _LineUnknown  # polars knows no escapes
    if dialect.encoding != "utf-8":
        content = content.decode(dialect.encoding).encode()
    separator = dialect.separator
    if len(separator) > 1:  # polars knows separators of one byte
        if _UNUSED in content:
            raise _LineUnknown
        content, separator = content.replace(separator.encode(), _UNUSED), _UNUSED.decode()
    frame = pl.read_csv(
        io.BytesIO(content),
        has_header=dialect.header is None,
        separator=separator,
        quote_char='"' if dialect.quoted else None,
        infer_schema=False,
    )
    # polars fills short rows with nulls and keeps blank lines: both show in the last column.
    if frame.width != len(header) or frame.is_empty() or frame[frame.columns[-1]].null_count():
        raise _LineUnknown
    frame = frame.rename(dict(zip(frame.columns, header, strict=True)))
    return FileColumns(path=path, frame=frame, lines=None, headed=dialect.header is None, bad=bad)


def _read_slowly(path: Path, dialect: Dialect, bad: BadRows) -> FileColumns:
    wrong: dict[int, str] = {}
    rows = records(path, dialect, wrong if bad.skipping else None, bad.refusal)
    header = _header(path, dialect)
    if dialect.header is None:
        next(rows)
    lines: list[int] = []
    columns: list[list[str | None]] = [[] for _ in header]
    chunks, numbers = [], []

    def close() -> None:
        data = [pl.Series(n, c, dtype=pl.String) for n, c in zip(header, columns, strict=True)]
        chunks.append(pl.DataFrame(data))
        numbers.append(pl.Series(lines, dtype=pl.Int64))
        for column in columns:
            column.clear()
        lines.clear()

    for line, fields in rows:
        if len(fields) != len(header):
            message = f"{len(fields)} fields where there should be {len(header)}"
            message = f"{message} ({', '.join(header)})"
            if not bad.skipping:
                raise DataError(bad.refusal(message), path, line)
            wrong[line] = message
            continue
        lines.append(line)
        for column, value in zip(columns, fields, strict=True):
            column.append(value or None)
        if len(lines) >= CHUNK:
            close()
    close()
    return FileColumns(
        path=path,
        frame=pl.concat(chunks),
        lines=pl.concat(numbers),
        headed=dialect.header is None,
        bad=bad,
        malformed=wrong,
    )


def _header(path: Path, dialect: Dialect) -> tuple[str, ...]:
    if dialect.header is not None:
        return dialect.header
    line, fields = next(records(path, dialect), (None, []))
    if not fields:
        raise DataError("the file is empty", path)
    header = tuple(field.strip() for field in fields)
    if len(set(header)) != len(header):
        raise DataError(
            f"a column name occurs twice: {', '.join(header)}; give each a name of its own",
            path,
            line,
        )
    return header


def _mostly(which: pl.Series) -> bool:
    return 2 * int(which.sum()) > which.count()


def _kind(dialect: Dialect) -> str:
    return "csv" if dialect.quoted else "delimited"


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    text = str(value)
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
