"""Ids that do not meet, ids that mean missing, and ids that a float would merge."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.registry import load_log
from training.data.tables import read_parquet, read_table
from training.settings import LogSettings

T = 1_700_000_000


def own(tmp_path: Path, ids: list[str], items: str | None = None, **fields: str) -> InteractionLog:
    path, told = tmp_path / "log.csv", tmp_path / "items.csv"
    rows = (f"u,{item},{T + 61 * place}\n" for place, item in enumerate(ids))
    path.write_text("user,item,time\n" + "".join(rows))
    if items is not None:
        told.write_text("id,title\n" + items)
    chosen = LogSettings(
        path=path,
        columns="user=user,item=item,time=time",
        items=items and told,
        min_events=3,
        **fields,
    )
    return load_log(chosen, cache=tmp_path / "cache")


FILMS = "".join(f"{n},Film of {'abcde'[n - 1] * 4}\n" for n in range(1, 6))


def test_integers_that_passed_through_floats_meet(tmp_path: Path) -> None:
    log = own(tmp_path, ["1.0", "2.0", "3", "4.00", "5.0"], FILMS)
    assert log.catalogue.ids == ("1", "2", "3", "4", "5")
    assert log.catalogue.titles[4] == "Film of eeee"
    assert "5 of the log's 5 items (100.0%) have item text" in log.notes


def test_decimals_stay_decimals(tmp_path: Path) -> None:
    assert own(tmp_path, ["1.0", "1.5", "2.0"]).catalogue.ids == ("1.0", "1.5", "2.0")


@pytest.mark.parametrize(
    ("ids", "items", "cause"),
    [
        (["01", "02", "03"], FILMS, "lost leading zeros"),
        (["A1", "A2", "A3"], "".join(f"a{n},Film {n}\n" for n in range(1, 6)), "upper and lower"),
        (["tt1", "tt2", "tt3"], FILMS, "has a prefix"),
        (["x", "y", "z"], FILMS, "ids of different things"),
    ],
)
def test_ids_that_hardly_meet_are_an_error_with_the_likely_cause(
    tmp_path: Path, ids: list[str], items: str, cause: str
) -> None:
    with pytest.raises(DataError, match=r"only 0 of the log's 3 items \(0.0%\)") as caught:
        own(tmp_path, ids, items)
    assert cause in str(caught.value)
    assert ids[0] in str(caught.value)


def test_a_part_that_does_not_meet_is_told_with_its_cause(tmp_path: Path) -> None:
    log = own(tmp_path, ["1", "02", "03", "04"], FILMS)
    (said,) = (note for note in log.notes if "have item text" in note)
    assert said.startswith("1 of the log's 4 items (25.0%) have item text; likely one of them lost")
    assert "100% would" in said


@pytest.mark.parametrize("missing", ["nan", "NULL", "None", "N/A", "\\N", "<NA>", "", "null"])
@pytest.mark.parametrize("place", ["user", "item"])
def test_what_means_missing_is_no_id(tmp_path: Path, missing: str, place: str) -> None:
    rows = [("u", f"i{n}", T + n) for n in range(5)]
    rows.insert(2, (missing, "i", T) if place == "user" else ("u", missing, T))
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    with pytest.raises(DataError, match=rf"line 4: column '{place}' is ") as caught:
        load_log(LogSettings(path=path), cache=tmp_path)
    assert "missing" in str(caught.value) or "empty" in str(caught.value)


def test_words_that_only_hold_such_letters_are_ids(tmp_path: Path) -> None:
    assert len(own(tmp_path, ["nana", "Nonexistent", "nil admirari"]).catalogue) == 3


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_ids_beyond_what_floats_hold_stay_apart(tmp_path: Path, suffix: str) -> None:
    big = [2**53 + 1, 2**53 + 2, 2**63 - 1, 2**63 - 2]
    frame = pl.DataFrame({"item": big})
    path = tmp_path / f"log.{suffix}"
    write = {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}
    write[suffix](path)
    found = read_table(path, lambda table: table.ids("item").to_list())
    assert found == [str(number) for number in big]


def test_floats_too_large_to_be_ids_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1.0, 2.0**53]}).write_parquet(path)
    with pytest.raises(DataError, match="a float cannot tell apart; write it as integers or text"):
        read_parquet(path).ids("user")


def test_a_float_column_with_gaps_holds_integers_and_missing_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [7.0, float("nan"), 8.0]}).write_parquet(path)
    with pytest.raises(DataError, match="line 2: column 'user' is empty"):
        read_parquet(path).ids("user")
    assert read_parquet(path).texts("user").to_list() == ["7", None, "8"]


def test_an_id_that_a_spreadsheet_rounded_is_no_id(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: column 'item' is '1.23457E\+17', an id that"):
        own(tmp_path, ["1.23457E+17", "b", "c"])
