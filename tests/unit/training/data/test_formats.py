"""Files as others publish or export them, without a word about their format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.registry import load_log
from training.settings import LogSettings

T = 881_250_949
RATINGS = [(1 + n % 4, 10 + n % 9, 1 + n % 5, T + 61 * n) for n in range(48)]


def read(path: Path, **fields: object) -> InteractionLog:
    return load_log(LogSettings(path=path, **fields), cache=path.parent / "cache")


def lines(separator: str, header: str = "") -> str:
    return header + "".join(separator.join(map(str, row)) + "\n" for row in RATINGS)


def same(log: InteractionLog) -> None:
    """It is the log that RATINGS tell."""
    ordered = sorted(RATINGS, key=lambda row: (row[0], row[3]))
    assert [log.user_ids[user] for user in log.user] == [str(row[0]) for row in ordered]
    assert [log.catalogue.ids[item] for item in log.item] == [str(row[1]) for row in ordered]
    assert log.time is not None
    assert log.time.tolist() == [float(row[3]) for row in ordered]


@pytest.mark.parametrize(
    ("name", "separator"), [("u.data", "\t"), ("ratings.dat", "::"), ("r.csv", ","), ("r.txt", "|")]
)
def test_numbers_without_a_header(tmp_path: Path, name: str, separator: str) -> None:
    path = tmp_path / name
    path.write_text(lines(separator))
    log = read(path)
    same(log)
    assert "no header: read as user, item, rating, time" in log.notes
    same(read(path, columns="user=1,item=2,time=4"))
    swapped = read(path, columns="user=2,item=1,time=4")
    assert (swapped.n_users, len(swapped.catalogue)) == (9, 4)


def test_films_of_movielens_1m_and_100k(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text(lines("::"))
    films, other = tmp_path / "movies.dat", tmp_path / "u.item"
    titles = {n: f"Amélie {'abcdefghi'[n]}, The (2001)" for n in range(9)}
    films.write_text(
        "".join(f"{10 + n}::{t}::Drama|Comedy\n" for n, t in titles.items()), "latin-1"
    )
    other.write_text(
        "".join(f"{10 + n}|{t}|01-Jan-2001||0|1\n" for n, t in titles.items()), "latin-1"
    )
    for items in (films, other):
        log = read(path, items=items)
        assert log.catalogue.titles == tuple(titles.values())
    assert "Drama" in read(path, items=films).catalogue.texts[0]


def test_words_without_a_header_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "ratings_Beauty.csv"
    path.write_text("".join(f"A{u},B00{i},5.0,{t}\n" for u, i, _, t in RATINGS))
    with pytest.raises(DataError, match=r"no header.* user=1,item=2,time=4.* 1=A1, 2=B0010, 3=5.0"):
        read(path)
    assert read(path, columns="user=1,item=2,time=4").n_users == 4
    with pytest.raises(DataError, match=r"line 1: its first line \(A1,B0010.* numbers"):
        read(path, columns="user=reviewer,item=product,time=time")


def test_a_short_row_of_a_double_colon_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text(lines("::") + "1::2\n")
    with pytest.raises(DataError, match=r"ratings\.dat, line 49: 2 fields where there should be 4"):
        read(path)


def amazon(row: tuple[int, int, int, int]) -> dict[str, object]:
    user, item, rating, time = row
    return {
        "rating": float(rating), "title": "Nice", "text": "I like it, \"really\".", "images": [],
        "asin": f"B{item}", "parent_asin": f"{item}", "user_id": f"{user}",
        "timestamp": time * 1000, "helpful_vote": 0, "verified_purchase": True,
        **({} if time % 2 else {"more": {"deep": [1]}}),
    }  # fmt: skip


def test_json_lines_of_amazon_2023_with_their_products(tmp_path: Path) -> None:
    path, items = tmp_path / "All_Beauty.jsonl.gz", tmp_path / "meta_All_Beauty.jsonl"
    path.write_bytes(gzip.compress("".join(json.dumps(amazon(r)) + "\n" for r in RATINGS).encode()))
    items.write_text(
        "".join(
            json.dumps(
                {"main_category": "All Beauty", "title": f"Soap {'abcdefghi'[n]}", "price": None,
                 "categories": ["Bath", "Soap"], "parent_asin": f"{10 + n}", "details": {"a": 1}}
            ) + "\n"
            for n in range(9)
        )
    )  # fmt: skip
    log = read(path, items=items)
    same(log)
    assert log.catalogue.titles[0] == "Soap a"
    assert "Bath" in log.catalogue.texts[0]
    assert "9 of the log's 9 items (100.0%) have item text" in log.notes
    same(read(path, columns="user=user_id,item=parent_asin,time=timestamp"))


def test_json_lines_of_yelp(tmp_path: Path) -> None:
    path = tmp_path / "yelp_academic_dataset_review.json"
    rows = [
        {"user_id": f"{u}", "business_id": f"{i}", "stars": 5.0,
         "date": f"2018-07-{1 + n // 24:02d} {n % 24:02d}:09:11"}
        for n, (u, i, _, _) in enumerate(RATINGS)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (len(read(path)), read(path).n_users) == (48, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user": "u"', "line 49: not a JSON line"),
        ("[1, 2]", r"line 49: not a JSON line: it is a list"),
        ('{"user_id": "u", "item_id": null, "timestamp": 1}', "line 49: column 'item_id' is empty"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "log.jsonl"
    good = [json.dumps({"user_id": u, "item_id": i, "timestamp": t}) for u, i, _, t in RATINGS]
    path.write_text("\n".join([*good, line]) + "\n")
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_json_list_is_told_how_to_become_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([{"user": 1, "item": 2}]))
    with pytest.raises(DataError, match="one object a line"):
        read(path)


def test_parquet_with_text_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    frame = pl.DataFrame(
        {"user": [str(r[0]) for r in RATINGS], "item": [str(r[1]) for r in RATINGS],
         "time": [str(r[3]) for r in RATINGS], "note": ["x" * 100] * 48}
    )  # fmt: skip
    frame.with_columns(pl.all().cast(pl.Binary)).write_parquet(path)
    same(read(path))
    same(read(path, columns="user=user,item=item,time=time"))
    pl.DataFrame({"user": [b"\xff\xfe"], "item": [b"a"]}).write_parquet(path)
    with pytest.raises(DataError, match="column 'user' holds bytes that are no text"):
        read(path)


HEADER = "user,item,rating,time\n"


def zstd(text: str) -> bytes:
    return pa.compress(text.encode(), "zstd", asbytes=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "packed",
    [
        zstd,
        lambda text: gzip.compress(text.encode()),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
)
@pytest.mark.parametrize("headed", [True, False])
def test_packed_and_encoded_otherwise(
    tmp_path: Path, packed: Callable[[str], bytes], headed: bool
) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(packed(lines(",", HEADER if headed else "")))
    same(read(path))
    path.write_bytes(packed(lines(",", HEADER if headed else "") + "9,9,9\n"))
    with pytest.raises(DataError, match=rf"line {49 + headed}: 3 fields where"):
        read(path)


def test_half_a_zstd_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.zst"
    path.write_bytes(zstd(lines(",", HEADER) * 400)[:-7])
    with pytest.raises(DataError, match=r"log\.csv\.zst"):
        read(path)


def test_bigquery_writes_utc_behind_its_times(tmp_path: Path) -> None:
    path = tmp_path / "bq.csv"
    rows = "".join(
        f"{u},{i},2016-01-01 00:00:{n:02d} UTC\n" for n, (u, i, *_) in enumerate(RATINGS)
    )
    path.write_text("user_id,item_id,event_time\n" + rows)
    log = read(path)
    assert log.time is not None
    assert log.time.min() == 1_451_606_400.0


def test_clickhouse_writes_quoted_csv_and_marks_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "ch.csv"
    path.write_text('"user","item","rating","time"\n' + lines(","))
    same(read(path))
    path.write_text('"user","item","rating","time"\n' + lines(",") + "\\N,1,1,881250949\n")
    with pytest.raises(DataError, match=r"line 50: column 'user' is '\\\\N', which means missing"):
        read(path)


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("separator", ["\t", ","])
def test_types_behind_the_names_are_no_row(tmp_path: Path, separator: str, times: bool) -> None:
    path = tmp_path / "log.csv"
    names, types = ["user", "item", "rating"], ["UInt64", "LowCardinality(String)", "Float32"]
    if times:
        names, types = [*names, "time"], [*types, "DateTime64(3)"]
    rows = [separator.join(map(str, row[: len(names)])) for row in RATINGS]
    path.write_text("\n".join([separator.join(names), separator.join(types), *rows]) + "\n")
    with pytest.raises(DataError, match=r"line 2: holds types .*UInt64, LowC.* WithNamesAndTypes"):
        read(path)
    path.write_text("\n".join([separator.join(names), *rows, separator.join(types)]) + "\n")
    if times:
        with pytest.raises(DataError, match="line 50: column 'time' is"):
            read(path)
    else:
        assert read(path).n_users == 4


@pytest.mark.parametrize("way", ["folder", "pattern", "nested"])
def test_parts_are_read_as_one_file(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "ratings"
    for number in range(4):
        part = folder / (f"day={number}" if way == "nested" else "") / f"part-{number}.csv"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows = RATINGS[12 * number : 12 * number + 12]
        part.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
    (folder / "_SUCCESS").write_text("")
    (folder / ".part-0.csv.crc").write_text("x")
    log = read(folder / "part-*.csv" if way == "pattern" else folder)
    same(log)
    assert "4 parts, read in the order of their names" in log.notes
    broken = next(folder.rglob("part-2.csv"))
    broken.write_text(broken.read_text() + "1,2\n")
    with pytest.raises(DataError, match=r"part-2\.csv, line 14: 2 fields"):
        read(folder)


def test_a_folder_of_several_things_is_asked_about(tmp_path: Path) -> None:
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    with pytest.raises(DataError, match="no file of a log is there"):
        read(folder)
    for name in ("u.data", "u.item", "README"):
        (folder / name).write_text(lines("\t"))
    with pytest.raises(DataError, match=r"several kinds \(README, u\.data, u\.item\); name one"):
        read(folder)
    with pytest.raises(DataError, match="no file of a log is there"):
        read(folder / "*.csv")
    same(read(folder / "*.data"))
