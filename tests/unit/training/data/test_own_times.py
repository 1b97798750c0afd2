"""Times that numbers may be: read for what they are, or refused in words, never taken for 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.registry import load_log
from training.data.times import NoTimes, parse_times
from training.settings import LogSettings

DAY = datetime(2024, 1, 31, tzinfo=UTC).timestamp()


def own(tmp_path: Path, path: Path, **fields: str) -> InteractionLog:
    chosen = LogSettings(path=path, columns="user=user,item=item,time=time", **fields)
    return load_log(chosen, cache=tmp_path / "cache")


@pytest.mark.parametrize("kind", [pl.Int64, pl.String, pl.Float64])
@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        (202401, DAY - 30 * 86_400),
        (20240131, DAY),
        (2024013118, DAY + 18 * 3600),
        (202401311830, DAY + 18 * 3600 + 1800),
        (20240131183009, DAY + 18 * 3600 + 1809),
        (int(DAY), DAY),
        (int(DAY) * 1_000, DAY),
        (int(DAY) * 1_000_000, DAY),
        (int(DAY) * 1_000_000_000, DAY),
        (881_250_949, 881_250_949.0),
        (881_250_949_000, 881_250_949.0),
    ],
)
def test_a_number_is_read_for_what_it_is(number: int, seconds: float, kind: type) -> None:
    times, offset = parse_times(pl.Series([number, number, None]).cast(kind))
    assert times.to_list() == [pytest.approx(seconds), pytest.approx(seconds), None]
    assert offset is None


def test_milliseconds_stay_in_digits_that_a_float_cannot_hold() -> None:
    assert parse_times(pl.Series([20240131000000123]))[0].to_list() == [pytest.approx(DAY + 0.123)]


@pytest.mark.parametrize("text", ["2024-01-31 00:00:00 UTC", "2024/01/31", "2024-01-31 00:00:00,0"])
def test_other_forms_of_iso(text: str) -> None:
    assert parse_times(pl.Series([text]))[0].to_list() == [DAY]


@pytest.mark.parametrize("numbers", [[1, 2, 3], [45_000, 45_001], [20240230, 20240231], [31012024]])
def test_numbers_that_would_end_in_1970_are_refused_by_column(
    tmp_path: Path, numbers: list[int]
) -> None:
    with pytest.raises(NoTimes, match="as Unix times they end in 1970"):
        parse_times(pl.Series(numbers))
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + "".join(f"u,i{n},{n}\n" for n in numbers))
    with pytest.raises(DataError, match=r"log\.csv: column 'time' holds numbers up to .* time="):
        own(tmp_path, path)


@pytest.mark.parametrize(
    "column",
    [
        ["1970-01-01T00:28:20", "1970-01-01T00:28:21"],
        [datetime(1970, 1, 20, 17), datetime(1970, 1, 20, 18)],
        [19700120, 19700121],
    ],
)
def test_times_that_were_converted_in_the_wrong_unit_are_refused(column: list[object]) -> None:
    with pytest.raises(NoTimes, match=r"ends on 1970-01-\d\d, .* converted in another unit"):
        parse_times(pl.Series(column))


def test_one_impossible_day_among_days_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    days = ["20240131"] * 20 + ["20240230"]
    path.write_text("user,item,time\n" + "".join(f"u,i{n},{day}\n" for n, day in enumerate(days)))
    with pytest.raises(DataError, match=r"line 22: column 'time' is '20240230', not a time"):
        own(tmp_path, path)


@pytest.mark.parametrize("missing", ["0", "1970-01-01", "-1"])
def test_a_zero_among_times_is_a_missing_one(tmp_path: Path, missing: str) -> None:
    time = "2024-01-31" if "-01" in missing else str(int(DAY))
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + f"u,i,{time}\n" * 3 + f"u,i,{missing}\n")
    with pytest.raises(DataError, match=rf"line 5: column 'time' is '{missing}', not a time"):
        own(tmp_path, path)


DAYS = "".join(f"u{u},i{i % 3},2024-01-{1 + i // 9:02d}\n" for u in range(2) for i in range(27))


def test_whole_days_do_not_make_events_of_one_day_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + DAYS)
    log = own(tmp_path, path)
    assert len(log) == 54
    assert log.return_share() > 0.9
    (note,) = (note for note in log.notes if "duplicate" in note)
    assert note.startswith("36 duplicate rows (66.7%; same user, item and time) kept: times are ")
    assert "whole days" in note
    assert "log.duplicates=drop" in note
    dropped = own(tmp_path, path, duplicates="drop")
    assert len(dropped) == 18
    assert any("36 duplicate rows (66.7%; same user" in n for n in dropped.notes)


def test_one_exact_time_among_whole_days_leaves_them_coarse(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"u{n % 4},i{n % 9},2020-01-{1 + n // 100:02}\n" for n in range(300))
    path.write_text("user,item,time\nu0,i0,2020-01-01 07:31:12\n" + rows)
    log = own(tmp_path, path)
    assert len(log) == 301
    assert any("times are whole days" in note for note in log.notes)


def test_at_times_of_seconds_duplicates_are_dropped_unless_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"u,i{i},{int(DAY) + 7 * i}\n" for i in range(9))
    path.write_text("user,item,time\n" + rows + rows[: rows.index("\n") + 1])
    assert len(own(tmp_path, path)) == 9
    kept = own(tmp_path, path, duplicates="keep")
    assert len(kept) == 10
    assert "1 duplicate rows (10.0%; same user, item and time) kept" in kept.notes
