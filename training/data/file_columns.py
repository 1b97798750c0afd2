"""The columns of one file: as text, ids or times, with bad rows named by file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from shared.errors import DataError
from training.data.reading.bad_rows import BadRows
from training.data.times import EXPECTED, NoTimes, parse_times

MAX_OFFSET_MIN = 14 * 60  # UTC+14 is the largest offset in use
# Whole numbers from here on a float cannot tell apart, by its type.
EXACT: dict[object, int] = {pl.Float64(): 2**53, pl.Float32(): 2**24}
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


class LineUnknown(Exception):
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
                    f"column {name!r} holds bytes that are no text; name another (--columns)",
                    self.path,
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
            raise LineUnknown
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


def _mostly(which: pl.Series) -> bool:
    return 2 * int(which.sum()) > which.count()


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    text = str(value)
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
