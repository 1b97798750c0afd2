"""Logs in the forms in which they are published or exported: loaded with one flag at most.

Samples are written by hand after each source's own description of its files. Where a form cannot be
told from its file, the error says the flag, and the flag loads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from scalrec.options import settings_from
from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.registry import load_log

# (user, item, Unix seconds): three users with six events each, later ones not in the file's order.
T = 1_433_221_332
EVENTS = [(1 + n % 3, 1 + n * n % 7, T + 3_607 * n) for n in range(18)]
USERS, ITEMS = sorted({user for user, _, _ in EVENTS}), sorted({item for _, item, _ in EVENTS})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALREC_CONFIG", raising=False)


@dataclass(frozen=True)
class Form:
    """How somebody publishes a log.

    Attributes:
        file: its name.
        write: puts EVENTS into a file.
        user, item: ids as they are in the log, of those in EVENTS.
        columns: the one flag it takes; None where none is needed.
        exact: whether times are told to the second, not to the day.
    """

    file: str
    write: Callable[[Path], object]
    user: Callable[[int], str] = str
    item: Callable[[int], str] = str
    columns: str | None = None
    exact: bool = True


def rows(line: Callable[[int, int, int], str], header: str = "") -> Callable[[Path], object]:
    """A text file of a line for each event."""
    head = f"{header}\n" if header else ""
    text = head + "".join(f"{line(*event)}\n" for event in EVENTS)
    return lambda path: path.write_text(text, "utf-8")


def objects(row: Callable[[int, int, int], dict[str, object]]) -> Callable[[Path], object]:
    return rows(lambda *event: json.dumps(row(*event)))


def parquet(**columns: pl.Series) -> Callable[[Path], object]:
    return lambda path: pl.DataFrame(columns).write_parquet(path)


def at(time: int, form: str) -> str:
    return datetime.fromtimestamp(time, UTC).strftime(form)


def column(place: int, spell: Callable[[int], object] = int) -> pl.Series:
    return pl.Series([spell(event[place]) for event in EVENTS])


def session(user: int) -> str:
    return f"{1_000_000_000 + user}.{T}"


FORMS = {
    "MovieLens 100K u.data": Form("u.data", rows(lambda u, i, t: f"{u}\t{i}\t3\t{t}")),
    "MovieLens 1M ratings.dat": Form("ratings.dat", rows(lambda u, i, t: f"{u}::{i}::5::{t}")),
    "MovieLens 25M ratings.csv": Form(
        "ratings.csv", rows(lambda u, i, t: f"{u},{i},3.5,{t}", "userId,movieId,rating,timestamp")
    ),
    "RetailRocket events.csv": Form(
        "events.csv",
        rows(
            lambda u, i, t: f"{t}000,{u},{f'view,{i},' if t % 5 else f'transaction,{i},4000'}",
            "timestamp,visitorid,event,itemid,transactionid",
        ),
    ),
    "LastFM-1K plays": Form(
        "userid-timestamp-artid-artname-traid-traname.tsv",
        rows(
            lambda u, i, t: (
                f"user_{u:06d}\t{at(t, '%Y-%m-%dT%H:%M:%SZ')}\tf1b1cf71-bd35-4e99-8624-24a6e15f{i}"
                f'\tDeep "D" Dish\t{"" if i == 2 else "b52ef1bb-7d6a-4b3b-9b0d-0e5ff5c6d0a1"}'
                f"\tTrack No. {i}"
            )
        ),
        user=lambda user: f"user_{user:06d}",
        item=lambda item: f'Deep "D" Dish\x1fTrack No. {item}',
        columns="user=1,item=4+6,time=2",
    ),
    "Yelp reviews": Form(
        "yelp_academic_dataset_review.json",
        objects(
            lambda u, i, t: {
                "review_id": f"KU_O5udG6zpxOg-VcAE{t}", "user_id": f"mh_-eMZ6K5RLWhZyISBhw{u}",
                "business_id": f"XQfwVwDr-v0ZS3_CbbE5X{i}", "stars": 3.0, "useful": 0, "funny": 0,
                "cool": 0, "text": 'Not "bad",\nbut late.', "date": at(t, "%Y-%m-%d %H:%M:%S"),
            }
        ),
        user=lambda user: f"mh_-eMZ6K5RLWhZyISBhw{user}",
        item=lambda item: f"XQfwVwDr-v0ZS3_CbbE5X{item}",
    ),
    "Amazon 2023 reviews": Form(
        "All_Beauty.jsonl",
        objects(
            lambda u, i, t: {
                "rating": 5.0, "title": "Such a lovely scent", "text": "", "images": [],
                "asin": f"B00YQ6X8E{t % 10}", "parent_asin": f"B00YQ6X8E{i}",
                "user_id": f"AGKHLEW2SOWHNMFQIJGBECAF7IN{u}", "timestamp": t * 1000,
                "helpful_vote": 0, "verified_purchase": True,
            }
        ),
        user=lambda user: f"AGKHLEW2SOWHNMFQIJGBECAF7IN{user}",
        item=lambda item: f"B00YQ6X8E{item}",
    ),
    "Amazon 2023 ratings": Form(
        "All_Beauty.csv",
        rows(lambda u, i, t: f"A{u},B0{i},5.0,{t}000", "user_id,parent_asin,rating,timestamp"),
        user=lambda user: f"A{user}",
        item=lambda item: f"B0{item}",
    ),
    "Amazon 2023 sequences": Form(
        "All_Beauty.train.csv",
        rows(
            lambda u, i, t: f"A{u},B0{i},5.0,{t}000,{'' if t == T else 'B01 B02'}",
            "user_id,parent_asin,rating,timestamp,history",
        ),
        user=lambda user: f"A{user}",
        item=lambda item: f"B0{item}",
    ),
    "Amazon 2018 ratings": Form(
        "Luxury_Beauty.csv",
        rows(lambda u, i, t: f"B0{i},A{u},5.0,{t}"),
        user=lambda user: f"A{user}",
        item=lambda item: f"B0{item}",
        columns="user=2,item=1,time=4",
    ),
    "ClickHouse CSVWithNames": Form(
        "clicks.csv",
        rows(
            lambda u, i, t: f'{u},"SKU-{i}","{at(t, "%Y-%m-%d %H:%M:%S")}"',
            '"user_id","item_id","event_time"',
        ),
        item=lambda item: f"SKU-{item}",
    ),
    "ClickHouse CSV": Form(
        "clicks.csv",
        rows(lambda u, i, t: f'{u},"SKU-{i}","{at(t, "%Y-%m-%d %H:%M:%S")}"'),
        item=lambda item: f"SKU-{item}",
        columns="user=1,item=2,time=3",
    ),
    "ClickHouse TSVWithNames": Form(
        "clicks.tsv",
        rows(
            lambda u, i, t: f"{u}\tSKU-{i}\t\\N\t{at(t, '%Y-%m-%d %H:%M:%S')}.000",
            "user_id\titem_id\treferer\tevent_time",
        ),
        item=lambda item: f"SKU-{item}",
    ),
    "ClickHouse JSONEachRow": Form(
        "clicks.json",
        objects(
            lambda u, i, t: {
                "user_id": f"1844674407370955161{u}", "item_id": i,
                "event_time": at(t, "%Y-%m-%d %H:%M:%S.000"),
            }
        ),
        user=lambda user: f"1844674407370955161{user}",
    ),
    "ClickHouse Parquet": Form(
        "clicks.parquet",
        parquet(
            user_id=column(0).cast(pl.UInt64) + 18_446_744_073_709_551_600,
            item_id=column(1, lambda i: f"SKU-{i}".encode()),
            event_time=column(2).cast(pl.UInt32),  # DateTime
        ),
        user=lambda user: str(18_446_744_073_709_551_600 + user),
        item=lambda item: f"SKU-{item}",
    ),
    "BigQuery csv": Form(
        "bq-results-20240131.csv",
        rows(
            lambda u, i, t: f"{u},SKU-{i},{at(t, '%Y-%m-%d %H:%M:%S')}.000000 UTC",
            "user_id,item_id,event_timestamp",
        ),
        item=lambda item: f"SKU-{item}",
    ),
    "BigQuery JSON": Form(
        "bq-results.json",
        objects(
            lambda u, i, t: {
                "user_id": str(u), "item_id": str(i), "event_timestamp": f"{t}000000",
            }
        ),
    ),
    "BigQuery Parquet": Form(
        "bq-results.parquet",
        parquet(
            user_id=column(0), item_id=column(1, str),
            event_timestamp=(column(2) * 1_000_000).cast(pl.Datetime("us", "UTC")),
        ),
    ),
    "Analytics events in BigQuery": Form(
        "bquxjob_1.csv",
        rows(
            lambda u, i, t: f"{at(t, '%Y%m%d')},{t}000000,view_item,{session(u)},SKU-{i}",
            "event_date,event_timestamp,event_name,user_pseudo_id,item_id",
        ),
        user=session,
        item=lambda item: f"SKU-{item}",
    ),
    "KuaiRand clicks": Form(
        "log_standard.csv",
        rows(
            lambda u, i, t: f"{u},{i},{at(t, '%Y%m%d')},1700,{t}000,1",
            "user_id,video_id,date,hourmin,time_ms,is_click",
        ),
    ),
    "purchases by day": Form(
        "transactions_train.csv",
        rows(
            lambda u, i, t: f"{at(t, '%Y-%m-%d')},{u},0{i},0.05,2",
            "t_dat,customer_id,article_id,price,sales_channel_id",
        ),
        item=lambda item: f"0{item}",
        exact=False,
    ),
}  # fmt: skip


def read(path: Path, columns: str | None = None, *settings: str, items: str = "") -> InteractionLog:
    """As a command reads it with ``--log``, and perhaps ``--columns`` and ``--items``."""
    chosen = settings_from(
        log=str(path),
        columns=None if columns is None else [columns],
        items=Path(items) if items else None,
        assignments=list(settings),
    )
    return load_log(chosen.log, cache=path.parent / "cache")


def is_told(log: InteractionLog, form: Form) -> None:
    """It is the log that EVENTS tell, spelt as ``form`` does."""
    day = 1 if form.exact else 86_400
    wanted = [(form.user(u), form.item(i), float(t // day * day)) for u, i, t in EVENTS]
    assert log.time is not None
    events = zip(log.user.tolist(), log.item.tolist(), log.time.tolist(), strict=True)
    assert sorted((log.user_ids[u], log.catalogue.ids[i], t) for u, i, t in events) == sorted(
        wanted
    )


@pytest.mark.parametrize("name", FORMS)
def test_it_loads_with_one_flag_at_most(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    path = tmp_path / form.file
    form.write(path)
    is_told(read(path, form.columns), form)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.columns])
def test_without_its_flag_the_error_says_it(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    path = tmp_path / form.file
    form.write(path)
    with pytest.raises(DataError, match=r"no header.*--columns user=1,item=2,time=4") as caught:
        read(path)
    assert str(path) in str(caught.value)
    # The first row is shown by number, so that the right numbers can be read off.
    first = {"LastFM-1K plays": "2=2015-06-02T05:02:12Z", "Amazon 2018 ratings": "2=A1"}
    assert first.get(name, "3=2015-06-02 05:02:12") in str(caught.value)


def test_businesses_of_yelp_are_items_with_several_categories(tmp_path: Path) -> None:
    path, items = tmp_path / "yelp_academic_dataset_review.json", tmp_path / "business.json"
    form = FORMS["Yelp reviews"]
    form.write(path)
    kinds = ["Bars, Nightlife", "Nightlife, Bars", "Bars, Coffee & Tea", "Coffee & Tea, Nightlife"]
    told = {item: kinds[item % 4] if item > 1 else None for item in range(1, 9)}
    items.write_text(
        "".join(
            json.dumps(
                {
                    "business_id": form.item(item), "name": f"The {'ABCDEFGH'[item - 1]} Room",
                    "city": "Goleta", "latitude": 34.4, "stars": 5.0,
                    "attributes": {"WiFi": "no"}, "hours": None, "categories": categories,
                }
            ) + "\n"
            for item, categories in told.items()
        )
    )  # fmt: skip
    catalogue = read(path, items="business.json").catalogue
    assert ITEMS == [1, 2, 3, 5]
    assert catalogue.titles == ("The A Room", "The B Room", "The C Room", "The E Room")
    assert catalogue.categories == (
        (),
        ("Bars", "Coffee & Tea"),
        ("Coffee & Tea", "Nightlife"),
        ("Nightlife", "Bars"),
    )
    assert catalogue.texts[0] == "The A Room. Goleta"


def test_a_play_without_a_track_is_refused_or_skipped_by_name(tmp_path: Path) -> None:
    form = FORMS["LastFM-1K plays"]
    path = tmp_path / form.file
    form.write(path)
    good = path.read_text()
    path.write_text(good * 8 + "user_000001\t2009-05-04T23:08:57Z\tf1b1\tDeep Dish\t\t\n")
    with pytest.raises(DataError, match=r"line 145: column '6' is empty \(--set (\S+) ") as caught:
        read(path, form.columns)
    (flag,) = re.findall(r"--set (\S+)", str(caught.value))
    log = read(path, form.columns, flag)
    assert any("1 bad rows skipped" in note for note in log.notes)
    assert len(log) == len(EVENTS)  # what was written eight times are duplicates


@pytest.mark.parametrize("columns", ["user=user_id,item=item_id,time=rating", "user=rating,item=u"])
def test_a_column_that_is_another_is_asked_about(columns: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows(lambda u, i, t: f"{u},{i},good,{t}", "user_id,item_id,rating,timestamp")(path)
    with pytest.raises(DataError, match=r"18 of 18 rows: is it the right column|\(--columns\)"):
        read(path, columns)


@pytest.mark.parametrize("name", ["playedAt", "played_at", "date_added", "review_date", "Time (s)"])
def test_times_of_an_unusual_name_are_not_passed_over(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows(lambda u, i, t: f"{u},{i},{t}", f"user_id,item_id,{name}")(path)
    with pytest.raises(DataError, match="--columns user=user_id,item=item_id,time=") as caught:
        read(path)
    (flag,) = re.findall(r"--columns (.*); or leave", str(caught.value))
    is_told(read(path, flag), FORMS["MovieLens 100K u.data"])
    assert read(path, "user=user_id,item=item_id").time is None


@pytest.mark.parametrize("name", ["rating", "candidate", "timeout_ms", "daytona", "updated"])
def test_words_that_only_hold_such_letters_are_no_times(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows(lambda u, i, t: f"{u},{i},{t}", f"user_id,item_id,{name}")(path)
    assert read(path).time is None
