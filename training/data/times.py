"""Event times as Unix seconds, from Unix numbers of any usual unit, digits of dates or ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

EARLIEST = 631_152_000.0  # 1990-01-01, UTC: what numbers mean an earlier time are no Unix times
LATEST = 4_102_444_800.0  # 2100-01-01, UTC
EXPECTED = "Unix seconds or milliseconds, digits like 20240131, or ISO 8601, before 2100"

_ISO = (
    r"^\s*(\d{4})[-/.](\d{2})[-/.](\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2}(?:[.,]\d{1,9})?))?)?"
    r"\s*(?:(Z|UTC|GMT)|([+-])(\d{2}):?(\d{2}))?\s*$"
)
# Upper bound of the median, and units per second: a column has one unit.
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))
# .NET counts a ten-millionth of a second from the year 1; as nanoseconds these end in 1990.
_TICKS = (6.3e17, 6.63e17)  # of the years 1997 to 2100
_TICKS_PER_S, _TICKS_TO_1970 = 1e7, 62_135_596_800.0
_EXPONENT = r"^-?\d(?:\.(\d+))?[eE]\+?(\d{1,2})$"
_COARSEST_S = 1000.0  # between two numbers that a column can hold; beyond it, a program rounded it
_YEARS = (1900, 2100)
# Digits of a date, and what completes them to a second: years, months, days, hours, minutes.
_COMPLETED = {4: "0101000000", 6: "01000000", 8: "000000", 10: "0000", 12: "00", 14: "", 17: ""}
_MOSTLY = 0.9  # share of a column's numbers that decides what they are


class NoTimes(ValueError):
    """What a column's numbers are instead of times, in words that follow its name."""


def parse_times(column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Read a column of times.

    Args:
        column: numbers, dates, datetimes, or strings holding either.

    Returns:
        Float64 Unix seconds, null where a value is not a time between 1970 and 2100, and Int16
        minutes of the UTC offset, or None when the column gives no offsets. Among later times the
        very first moment of 1970 stands for a missing one, and so does any number before 1990.

    Raises:
        NoTimes: the numbers are none, whatever their unit, or all times are before 1990.
    """
    offset = None
    if column.dtype.is_temporal():
        seconds = _from_temporal(column)
    elif column.dtype.is_numeric():
        if column.dtype == pl.Float32 and (column.abs() >= 2**24).any():
            raise NoTimes("holds 32-bit floats, which round Unix times to minutes or hours; write "
                          "it as integers or 64-bit floats")  # fmt: skip
        seconds = _from_numbers(column.cast(pl.Float64), column.cast(pl.Int64, strict=False))
    else:
        text = column.cast(pl.String, strict=False).str.strip_chars()
        numbers = text.cast(pl.Float64, strict=False)
        if numbers.count() * 2 >= text.count():
            _refuse_rounded(text, numbers)
            whole = text.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
            seconds = _from_numbers(numbers, whole)
        else:
            seconds, offset = _from_iso(text)
    usable = seconds.is_finite() & seconds.is_between(0.0, LATEST)
    seconds = seconds.set(~usable.fill_null(False), None)
    latest = seconds.max()
    if isinstance(latest, float) and latest < EARLIEST:
        raise NoTimes(
            f"ends on {datetime.fromtimestamp(latest, UTC):%Y-%m-%d}, and no log of use is that "
            "old: were seconds or milliseconds converted in another unit?"
        )
    return _without(seconds, seconds == 0.0), offset


def _without(seconds: pl.Series, early: pl.Series) -> pl.Series:
    """The times but for ``early`` ones, if at least half of them all are of 1990 or later."""
    if 2 * (seconds >= EARLIEST).sum() < seconds.count():
        return seconds
    return seconds.set(early.fill_null(False), None)


def _from_numbers(numbers: pl.Series, whole: pl.Series) -> pl.Series:
    """Unix times, or calendar dates where nearly all are written so.

    Args:
        numbers: Float64. whole: the same as Int64, exactly; null where that cannot be.
    """
    dates = _from_digits(whole)
    if numbers.count() and dates.count() >= _MOSTLY * numbers.count():
        return dates
    finite = numbers.filter(numbers.is_finite().fill_null(False))
    median = abs(float(finite.median() or 0.0)) if len(finite) else 0.0  # type: ignore[arg-type]
    seconds = numbers / next(per_second for bound, per_second in _UNITS if median < bound)
    if _TICKS[0] <= median < _TICKS[1]:
        seconds = numbers / _TICKS_PER_S - _TICKS_TO_1970
    most = float(finite.max() or 0.0)  # type: ignore[arg-type]
    if len(finite) and most >= 0.0 and seconds.filter(numbers == most)[0] < EARLIEST:
        raise NoTimes(
            f"holds numbers up to {most:,.0f}: as Unix times they end in 1970 to 1989. If "
            "they only count or order the events, sort the file and leave time= out; write dates "
            "as digits (20240131) or in ISO 8601"
        )
    return _without(seconds, seconds < EARLIEST)


def _refuse_rounded(text: pl.Series, numbers: pl.Series) -> None:
    """Nothing, unless even the most exact number of a column was rounded, as spreadsheets do.

    Raises:
        NoTimes: 1.6E+12 stands for every time of months.
    """
    exponent = text.str.extract(_EXPONENT, 2).cast(pl.Int64)
    if exponent.null_count() or not len(exponent):
        return
    decimals = text.str.extract(_EXPONENT, 1).str.len_chars().fill_null(0).cast(pl.Int64)
    median = abs(float(numbers.median() or 0.0))  # type: ignore[arg-type]
    per_second = next(per_second for bound, per_second in _UNITS if median < bound)
    finest = min(10.0**places for places in (exponent - decimals).to_list()) / per_second
    if finest > _COARSEST_S:
        raise NoTimes(
            f"holds numbers like {text[0]}: a program, often a spreadsheet, rounded the times; "
            "take them from the file as it was before"
        )


def _from_digits(whole: pl.Series) -> pl.Series:
    """Numbers like 20240131 or 20240131235959, all of one length, as that time; else null."""
    text = whole.cast(pl.String)
    lengths = text.str.len_chars()
    usual = lengths.drop_nulls().mode()
    length = int(usual[0]) if len(usual) else 0
    if length not in _COMPLETED:
        return pl.Series([None] * len(whole), dtype=pl.Float64)
    parts = pl.DataFrame({"t": text.set(lengths != length, None)}).select(
        year=pl.col("t").str.slice(0, 4).cast(pl.Int32, strict=False),
        moment=pl.concat_str(
            pl.col("t").str.slice(0, 14), pl.lit(_COMPLETED[length])
        ).str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False),
        rest=pl.col("t").str.slice(14).cast(pl.Float64, strict=False).fill_null(0.0) / 1e3,
    )
    seconds = parts["moment"].dt.epoch("us").cast(pl.Float64) / 1e6 + parts["rest"]
    return seconds.set(~parts["year"].is_between(*_YEARS).fill_null(False), None)


def _from_temporal(column: pl.Series) -> pl.Series:
    if column.dtype not in (pl.Date, pl.Datetime):
        return pl.Series([None] * len(column), dtype=pl.Float64)
    return column.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6


def _from_iso(text: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    def part(group: int) -> pl.Expr:
        return pl.col("t").str.extract(_ISO, group)

    day = pl.concat_str(part(1), part(2), part(3), separator="-")
    second = part(5).str.replace(",", ".", literal=True).fill_null("00")
    frame = pl.DataFrame({"t": text}).select(
        local=pl.concat_str(
            day, pl.lit(" "), part(4).fill_null("00:00"), pl.lit(":"), second
        ).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        offset=pl.when(part(7).is_not_null())
        .then(
            (part(8).cast(pl.Int32) * 60 + part(9).cast(pl.Int32))
            * pl.when(part(7) == "-").then(-1).otherwise(1)
        )
        .otherwise(0),
    )
    seconds = frame["local"].dt.epoch("us").cast(pl.Float64) / 1e6 - frame["offset"] * 60.0
    offset = frame["offset"].cast(pl.Int16, strict=False)
    return seconds, offset if (offset != 0).any() else None
