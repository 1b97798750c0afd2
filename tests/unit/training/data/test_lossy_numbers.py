"""Ids and times that passed through a program that rounds, joins or counts in its own way."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import polars as pl
import pytest

from shared.errors import DataError
from training.data import custom
from training.data.times import NoTimes, parse_times

MOMENT = int(datetime(2020, 9, 13, 12, tzinfo=UTC).timestamp())


def _log(tmp_path, users=None, items=None, times=None, suffix="csv"):
    rows = {
        "user_id": [f"u{n // 12}" for n in range(48)] if users is None else users,
        "item_id": items or [f"i{n % 16}" for n in range(48)],
        "timestamp": times or [MOMENT + 60 * n for n in range(48)],
    }
    path = tmp_path / f"log.{suffix}"
    frame = pl.DataFrame(rows)
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    return custom.load(path, name="own", columns=None, items=None, min_events=1)


def test_ids_that_a_32_bit_float_cannot_tell_apart_are_refused(tmp_path):
    users = pl.Series([2**24 + n // 12 for n in range(48)]).cast(pl.Float32)
    with pytest.raises(DataError, match="a float cannot tell apart"):
        _log(tmp_path, users=users, suffix="parquet")
    few = pl.Series([n // 12 for n in range(48)]).cast(pl.Float32)
    assert _log(tmp_path, users=few, suffix="parquet").user_ids == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    "other", ["\ufeffcaf\u00e9", "caf\u00e9\u200b", "cafe\u0301", "caf\u00e9\u00a0"]
)
def test_an_id_is_one_however_a_program_wrote_it(tmp_path, other):
    log = _log(tmp_path, users=["caf\u00e9" if n % 2 else other for n in range(48)])
    assert log.user_ids == (unicodedata.normalize("NFC", "caf\u00e9"),)


@pytest.mark.parametrize(
    "word", ["(not set)", "[NULL]", "n.a.", "00000000-0000-0000-0000-000000000000", "''"]
)
def test_what_means_missing_is_nobody(tmp_path, word):
    with pytest.raises(DataError, match="which means missing"):
        _log(tmp_path, users=[word if n == 30 else f"u{n // 12}" for n in range(48)])


def test_hexadecimal_ids_are_not_taken_for_rounded_numbers(tmp_path):
    items = [f"{(0x5E10 + 0x1357 * (n % 16)) & 0xFFFF:04X}" for n in range(48)]
    assert "5E10" in items
    assert len(_log(tmp_path, items=items).catalogue) == 16
    with pytest.raises(DataError, match="rounded"):
        _log(tmp_path, items=["1.23E+05" if n == 7 else str(n % 16) for n in range(48)])


@pytest.mark.parametrize("written", ["1.6E+12", "1.60E+09", "1.600E+15"])
def test_times_that_a_spreadsheet_rounded_are_refused(written):
    with pytest.raises(NoTimes, match="rounded the times"):
        parse_times(pl.Series([written] * 5))


def test_times_written_with_an_exponent_are_read_where_nothing_is_lost():
    texts = ["1.6E9", "1.600000123E9", "1.60E+09"]
    assert parse_times(pl.Series(texts))[0].to_list() == [1.6e9, 1.600000123e9, 1.6e9]
    days = ["1.5778368E12", "1.5779232E12"]  # of milliseconds, at midnight
    assert parse_times(pl.Series(days))[0].to_list() == [1577836800.0, 1577923200.0]


def test_times_in_32_bit_floats_are_refused():
    times = pl.Series([MOMENT, MOMENT + 1], dtype=pl.Float64).cast(pl.Float32)
    with pytest.raises(NoTimes, match="32-bit floats"):
        parse_times(times)


@pytest.mark.parametrize("as_text", [False, True])
def test_ticks_of_dotnet_are_not_nanoseconds_of_1990(as_text):
    ticks = pl.Series([(62_135_596_800 + MOMENT + n) * 10**7 for n in range(3)])
    read, _ = parse_times(ticks.cast(pl.String) if as_text else ticks)
    assert read.to_list() == pytest.approx([MOMENT, MOMENT + 1, MOMENT + 2], abs=1e-3)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\x14\x00", "zip archive or a spreadsheet"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"SQLite format 3\x00", "SQLite"),
        ("user_id,item_id\nu,i\n".encode("utf-16-le"), "UTF-16 without a mark"),
        ("user_id,item_id\nu,i\n".encode("utf-16-be"), "UTF-16 without a mark"),
    ],
)
def test_files_that_are_no_text_are_told_by_their_kind(tmp_path, content, kind):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=kind):
        custom.load(path, name="own", columns=None, items=None, min_events=1)
