"""Logs of one's own, through the registry as everybody brings them."""

from __future__ import annotations

import polars as pl
import pytest

from shared.errors import DataError
from training.data.registry import load_log
from training.data.text import UNKNOWN_ITEM
from training.settings import LogSettings

COLUMNS = "user=who,item=what,time=when"
T = 1_500_000_000
ROWS = "".join(f"u{u},item {'abcde'[i]},{T + i}\n" for u in (1, 2) for i in range(5))


def load(tmp_path, path, columns=COLUMNS, **fields):
    settings = LogSettings(path=path, columns=columns, **fields)
    return load_log(settings, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["plays.csv", "plays.csv.gz"])
def test_csv(tmp_path, write, name):
    log = load(tmp_path, write(name, "who,what,when\n" + ROWS))
    assert (log.name, log.n_users, len(log), len(log.catalogue)) == ("plays", 2, 10, 5)
    assert log.user.tolist() == [0] * 5 + [1] * 5
    assert log.item.tolist() == [0, 1, 2, 3, 4] * 2
    assert log.time.tolist() == [1.5e9 + i for i in range(5)] * 2
    assert log.catalogue.titles[0] == "item a"


def test_tsv_and_parquet_say_the_same(tmp_path, write):
    expected = load(tmp_path, write("log.csv", "who,what,when\n" + ROWS))
    tsv = load(tmp_path, write("log.tsv", ("who,what,when\n" + ROWS).replace(",", "\t")))
    frame = pl.read_csv(tmp_path / "log.csv")
    frame.write_parquet(tmp_path / "log.parquet")
    for log in (tsv, load(tmp_path, tmp_path / "log.parquet")):
        assert log.item.tolist() == expected.item.tolist()
        assert log.time.tolist() == expected.time.tolist()
        assert log.catalogue == expected.catalogue


def test_a_session_column_tells_visits_apart(tmp_path, write):
    visits = ["x", "x", "y", "y", "x"]
    rows = "".join(f"u,{i},{T + i},{visit}\n" for i, visit in enumerate(visits))
    path = write("visits.csv", "who,what,when,visit\n" + rows)
    log = load(tmp_path, path, COLUMNS + ",session=visit")
    assert log.session.tolist() == [0, 0, 1, 1, 2]
    assert load(tmp_path, path).session is None


def test_two_columns_name_the_item(tmp_path, write):
    rows = "".join(f"1,Artist {i % 2},Song {i % 3},{T + i}\n" for i in range(6))
    path = write("plays.csv", "u,artist,track,t\n" + rows)
    log = load(tmp_path, path, "user=u,item=artist+track,time=t")
    assert len(log.catalogue) == 6
    assert "Artist 0 - Song 0" in log.catalogue.titles


def test_parts_that_look_joined_stay_apart(tmp_path, write):
    pairs = ("a - b,c", "a,b - c", "a,b", "a,b", "a,b")
    rows = "".join(f"1,{pair},{T + place}\n" for place, pair in enumerate(pairs))
    log = load(tmp_path, write("p.csv", "u,x,y,t\n" + rows), "user=u,item=x+y,time=t")
    assert len(log.catalogue) == 3


def test_text_column_describes_the_item(tmp_path, write):
    rows = "".join(f"1,{i},{T + i},Film number {i}\n" for i in range(5))
    log = load(tmp_path, write("p.csv", "u,i,t,title\n" + rows), "user=u,item=i,time=t,text=title")
    assert log.catalogue.texts[3] == "Film number 3"


def test_without_times_the_file_order_counts(tmp_path, write):
    path = write("p.csv", "u,i\n" + "".join(f"1,word {c}\n" for c in "edcba") + "1,word e\n")
    log = load(tmp_path, path, "user=u,item=i")
    assert log.time is None
    assert [log.catalogue.ids[i][-1] for i in log.item] == list("edcbae")
    assert "no times" in log.notes[0]


def test_local_offsets_of_iso_times_are_kept(tmp_path, write):
    rows = "".join(f"1,a {c},2024-01-01T0{i}:00:00-05:00\n" for i, c in enumerate("bcdef"))
    log = load(tmp_path, write("p.csv", "who,what,when\n" + rows))
    assert set(log.utc_offset_min.tolist()) == {-300}
    # 2024-01-01 was a Monday.
    assert log.local_hour_of_week().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_items_file(tmp_path, write):
    items = write("items.csv", "id,title,genre\nitem a,Alpha,Drama\nitem z,Omega,Drama\n")
    log = load(tmp_path, write("log.csv", "who,what,when\n" + ROWS), items=items)
    assert log.catalogue.titles[:2] == ("Alpha", "item b")
    assert log.notes == (
        "1 of the log's 5 items (20.0%) have item text",
        "1 items without an interaction left out",
    )


def test_ids_without_words_are_kept_as_unknown_and_counted(tmp_path, write):
    path = write("log.csv", "who,what,when\n" + ROWS.replace("item ", "10"))
    log = load(tmp_path, path)
    assert set(log.catalogue.titles) == {UNKNOWN_ITEM}
    assert any("5 items have no words" in note for note in log.notes)


@pytest.mark.parametrize(
    ("bad", "line", "message"),
    [
        ("u1,item a,noon", 12, "column 'when' is 'noon', not a time"),
        ("u1,item a,", 12, "column 'when' is empty, not a time"),
        (",item a,5", 12, "column 'who' is empty"),
        ("u1,,5", 12, "column 'what' is empty"),
        ("u1,item a", 12, "2 fields where there should be 3"),
        ("u1,item a,5,6", 12, "4 fields where there should be 3"),
    ],
)
def test_bad_row_is_named_by_file_and_line(tmp_path, write, bad, line, message):
    path = write("log.csv", f"who,what,when\n{ROWS}{bad}\nu1,item a,99\n")
    with pytest.raises(DataError) as caught:
        load(tmp_path, path)
    assert str(caught.value).startswith(f"{path}, line {line}: {message}")


def test_impossible_offset_is_named(tmp_path, write):
    path = write("p.csv", "who,what,when\n1,a,2024-01-01T00:00+23:00\n")
    with pytest.raises(DataError, match=f"{path}, line 2: .*no such UTC offset"):
        load(tmp_path, path)


def test_missing_column_names_the_columns(tmp_path, write):
    with pytest.raises(DataError, match="no column 'what'; it has who, item, when"):
        load(tmp_path, write("log.csv", "who,item,when\n1,2,3\n"))


def test_header_without_rows(tmp_path, write):
    with pytest.raises(DataError, match=r"log\.csv: no interactions in the file"):
        load(tmp_path, write("log.csv", "who,what,when\n"))


PLACES = [
    ("40.59", "-73.93", "Gym"),
    ("40.6", "-73.9", "Home (private)"),
    ("40", "-74", "Café"),
    ("40.712776", "-74.005974", "Surf Spot"),
    ("40,59", "-73,93", "Bridge"),
    ("40.59N", "73.93W", "Bus Station"),
    ("−40·5", "−73·9", "Ramen / Noodle House"),
]


def test_a_joined_item_is_called_by_its_words_and_never_by_its_coordinates(tmp_path, write):
    rows = "".join(f'1,"{a}","{b}",{c},{T + i}\n' for i, (a, b, c) in enumerate(PLACES))
    path = write("spots.csv", "u,lat,lon,category,t\n" + rows)
    log = load(tmp_path, path, "user=u,item=lat+lon+category,time=t")
    assert len(log.catalogue) == len(PLACES)
    assert sorted(log.catalogue.titles) == sorted(category for _, _, category in PLACES)
    assert not any(c.isdigit() for text in log.catalogue.texts for c in text)


def test_parts_that_are_numbers_or_keys_are_no_words_and_short_names_are(tmp_path, write):
    songs = [
        ("U2", "One", "dr5regw3"),
        ("Blink-182", "What's My Age Again?", "dr5regw4"),
        ("The Smashing Pumpkins", "1979", "dr5regx1"),
        ("周杰伦", "青花瓷", "9q8yyk8y"),
        ("Radiohead", "Creep (live)", "9q8yyk8z"),
        ("49bbd6c0f964a520f4531fe3", "Untitled", "9q8yyk8z"),
    ]
    rows = "".join(f"1,{a},{b},{c},{T + i}\n" for i, (a, b, c) in enumerate(songs))
    path = write("plays.csv", "u,artist,track,cell,t\n" + rows)
    log = load(tmp_path, path, "user=u,item=artist+track+cell,time=t")
    assert set(log.catalogue.titles) == {
        "U2 - One",
        "Blink-182 - What's My Age Again?",
        "The Smashing Pumpkins",
        "周杰伦 - 青花瓷",
        "Radiohead - Creep (live)",
        "Untitled",
    }


def test_an_item_of_numbers_alone_is_unknown(tmp_path, write):
    rows = "".join(f"1,40.5{i},-73.9{i},{T + i}\n" for i in range(5))
    path = write("spots.csv", "u,lat,lon,t\n" + rows)
    log = load(tmp_path, path, "user=u,item=lat+lon,time=t")
    assert set(log.catalogue.titles) == set(log.catalogue.texts) == {UNKNOWN_ITEM}


def test_a_column_of_numbers_is_no_text(tmp_path, write):
    rows = "".join(f"1,{i},{T + i},40.5{i},Spot {c}\n" for i, c in enumerate("abcde"))
    path = write("spots.csv", "u,i,t,lat,name\n" + rows)
    log = load(tmp_path, path, "user=u,item=i,time=t,text=lat+name")
    assert log.catalogue.titles[3] == log.catalogue.texts[3] == "Spot d"
