"""Event times as Unix seconds, from Unix numbers of any usual unit or from ISO 8601."""

from __future__ import annotations

import polars as pl

LATEST = 4_102_444_800.0  # 2100-01-01, UTC
EXPECTED = "Unix seconds or milliseconds, or ISO 8601, between 1970 and 2100"

_ISO = (
    r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2}(?:\.\d{1,9})?))?)?"
    r"\s*(?:(Z)|([+-])(\d{2}):?(\d{2}))?\s*$"
)
# Upper bound of the median, and units per second: a column has one unit.
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))


def parse_times(column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Read a column of times.

    Args:
        column: numbers, dates, datetimes, or strings holding either.

    Returns:
        Float64 Unix seconds, null where a value is not a time between 1970 and 2100, and Int16
        minutes of the UTC offset, or None when the column gives no offsets.
    """
    offset = None
    if column.dtype.is_temporal():
        seconds = _from_temporal(column)
    elif column.dtype.is_numeric():
        seconds = _from_numbers(column.cast(pl.Float64))
    else:
        text = column.cast(pl.String, strict=False)
        numbers = text.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.count() * 2 >= text.count():
            seconds = _from_numbers(numbers)
        else:
            seconds, offset = _from_iso(text)
    usable = seconds.is_finite() & seconds.is_between(0.0, LATEST)
    return seconds.set(~usable.fill_null(False), None), offset


def _from_numbers(numbers: pl.Series) -> pl.Series:
    finite = numbers.filter(numbers.is_finite().fill_null(False))
    median = abs(float(finite.median() or 0.0)) if len(finite) else 0.0  # type: ignore[arg-type]
    return numbers / next(per_second for bound, per_second in _UNITS if median < bound)


def _from_temporal(column: pl.Series) -> pl.Series:
    if column.dtype not in (pl.Date, pl.Datetime):
        return pl.Series([None] * len(column), dtype=pl.Float64)
    return column.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6


def _from_iso(text: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    def part(group: int) -> pl.Expr:
        return pl.col("t").str.extract(_ISO, group)

    frame = pl.DataFrame({"t": text}).select(
        local=pl.concat_str(
            part(1), pl.lit(" "), part(2).fill_null("00:00"), pl.lit(":"), part(3).fill_null("00")
        ).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        offset=pl.when(part(5).is_not_null())
        .then(
            (part(6).cast(pl.Int32) * 60 + part(7).cast(pl.Int32))
            * pl.when(part(5) == "-").then(-1).otherwise(1)
        )
        .otherwise(0),
    )
    seconds = frame["local"].dt.epoch("us").cast(pl.Float64) / 1e6 - frame["offset"] * 60.0
    offset = frame["offset"].cast(pl.Int16, strict=False)
    return seconds, offset if (offset != 0).any() else None
