"""Delimited text, JSON lines and parquet as tables of columns, bad rows named by file and line.

Text is read by polars. Only when polars, or whoever uses the rows, refuses something is the file
read again, row by row, so that the error can name the exact line without slowing good files down.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import polars as pl

from shared.errors import DataError
from training.data.file_columns import FileColumns, LineUnknown
from training.data.reading.bad_rows import BadRows
from training.data.reading.dialects import Dialect, recognised
from training.data.reading.json_lines import CHUNK, read_json_lines
from training.data.reading.streams import first_line, numbered_lines, read_content

T = TypeVar("T")
_PARQUET_MAGIC = "PAR1"
_UNUSED = b"\x1f"  # stands for a separator of several characters
# A row of ClickHouse's types, as its formats WithNamesAndTypes have behind the names.
_TYPE = re.compile(
    r"(Nullable|LowCardinality|Array|Map|Tuple|Enum|FixedString|Decimal|DateTime64)\d*\(.*\)"
    r"|U?Int\d+|Float\d+|String|Date(32)?|DateTime(\(.*\))?|UUID|Bool|IPv[46]"
)


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
    except (LineUnknown, pl.exceptions.PolarsError, pl.exceptions.PanicException):
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
        raise LineUnknown  # polars knows no escapes
    if dialect.encoding != "utf-8":
        content = content.decode(dialect.encoding).encode()
    separator = dialect.separator
    if len(separator) > 1:  # polars knows separators of one byte
        if _UNUSED in content:
            raise LineUnknown
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
        raise LineUnknown
    frame = frame.rename(dict(zip(frame.columns, header, strict=True)))
    _refuse_types(path, frame)
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
    frame = pl.concat(chunks)
    _refuse_types(path, frame)
    return FileColumns(
        path=path,
        frame=frame,
        lines=pl.concat(numbers),
        headed=dialect.header is None,
        bad=bad,
        malformed=wrong,
    )


def _refuse_types(path: Path, frame: pl.DataFrame) -> None:
    """Nothing, unless the first row holds types, which without times would be one more user."""
    first = frame.row(0) if len(frame) else ()
    if first and all(value and _TYPE.fullmatch(value) for value in first):
        raise DataError(
            f"holds types of columns ({', '.join(first)}): leave the line out, or export it "
            "WithNames, not WithNamesAndTypes",
            path,
            2,
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


def _kind(dialect: Dialect) -> str:
    return "csv" if dialect.quoted else "delimited"
