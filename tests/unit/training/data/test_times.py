"""Unix seconds from every accepted way to write a time."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from training.data.times import parse_times

MOMENT = datetime(2012, 4, 3, 18, 0, 9, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds", "offset"),
    [
        ("1333476009", MOMENT, None),
        (" 1333476009.5 ", MOMENT + 0.5, None),
        ("1333476009000", MOMENT, None),
        ("1333476009000000", MOMENT, None),
        ("1333476009000000000", MOMENT, None),
        ("2012-04-03T18:00:09Z", MOMENT, None),
        ("2012-04-03 18:00:09", MOMENT, None),
        ("2012-04-03T18:00:09.250", MOMENT + 0.25, None),
        ("2012-04-03T14:00:09-04:00", MOMENT, -240),
        ("2012-04-03T23:30:09+0530", MOMENT, 330),
        ("2012-04-03T18:00", MOMENT - 9, None),
        ("2012-04-03", datetime(2012, 4, 3, tzinfo=UTC).timestamp(), None),
    ],
)
def test_accepted(text, seconds, offset):
    times, offsets = parse_times(pl.Series([text]))
    assert times.to_list() == pytest.approx([seconds])
    assert (None if offsets is None else offsets[0]) == offset


@pytest.mark.parametrize(
    "text", ["yesterday", "", "nan", "inf", "-5", "2012-13-40", "1800-01-01", "2012-04-03T25:00"]
)
def test_refused(text):
    assert parse_times(pl.Series([text]))[0].to_list() == [None]


def test_one_stray_value_among_many():
    numbers = parse_times(pl.Series(["1333476009", "soon", "1333476010"]))[0]
    assert numbers.to_list() == [MOMENT, None, MOMENT + 1]
    stamps = parse_times(pl.Series(["2012-04-03T18:00:09Z", "soon", "2012-04-03T18:00:10Z"]))[0]
    assert stamps.to_list() == [MOMENT, None, MOMENT + 1]


def test_typed_columns():
    assert parse_times(pl.Series([1333476009000]))[0].to_list() == [MOMENT]
    assert parse_times(pl.Series([datetime(2012, 4, 3, 18, 0, 9)]))[0].to_list() == [MOMENT]
    assert parse_times(pl.Series([date(2000, 1, 2)]))[0].to_list() == [946_771_200.0]
    aware = pl.Series([datetime(2012, 4, 3, 18, 0, 9, tzinfo=UTC)])
    assert parse_times(aware)[0].to_list() == [MOMENT]
