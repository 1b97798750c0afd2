"""RecBole atomic files."""

from __future__ import annotations

import pytest

from shared.errors import DataError
from training.data.registry import load_log
from training.settings import LogSettings

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(
    f"{user}\t{item}\t3.0\t{880000000 + 60 * item}\n" for user in (1, 2) for item in range(1, 6)
)
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Comedy\n2\tHeat\t1995\tCrime\n3\tFargo\t1996\tCrime Drama\n"
)


def load(tmp_path, path, **fields):
    return load_log(LogSettings(path=path, **fields), cache=tmp_path / "cache")


def test_log_with_the_item_file_beside_it(tmp_path, write):
    write("ml.item", ITEM)
    log = load(tmp_path, write("ml.inter", INTER))
    assert (log.name, log.n_users, len(log)) == ("ml", 2, 10)
    assert log.time[:2].tolist() == [880000060.0, 880000120.0]
    assert log.catalogue.titles[0] == "Toy Story"
    assert log.catalogue.categories[0] == ("Animation", "Comedy")
    assert log.catalogue.texts[0] == "Toy Story. Animation, Comedy. 1995"
    assert "3 of the log's 5 items (60.0%) have item text" in log.notes


def test_columns_name_fields_without_types(tmp_path, write):
    content = INTER.replace("user_id:", "member:").replace("timestamp:", "moment:")
    path = write("ml.inter", content)
    log = load(tmp_path, path, columns="user=member,item=item_id,time=moment")
    assert len(log) == 10


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("user_id\titem_id:token\n1\t2\n", 1, "header field 'user_id' is not name:type"),
        ("user_id:tokn\titem_id:token\n1\t2\n", 1, "header field 'user_id:tokn' is not"),
        ("user_id:token\tuser_id:float\n1\t2\n", 1, "field 'user_id' occurs twice"),
        (INTER + "3\t1\t3.0\n", 12, "3 fields where there should be 4"),
        (INTER + "3\t1\t3.0\tnever\n", 12, "column 'timestamp' is 'never', not a time"),
    ],
)
def test_bad_row_is_named_by_file_and_line(tmp_path, write, content, line, message):
    path = write("ml.inter", content)
    with pytest.raises(DataError) as caught:
        load(tmp_path, path)
    assert str(caught.value).startswith(f"{path}, line {line}: {message}")


def test_bad_item_row_is_named(tmp_path, write):
    items = write("ml.item", ITEM + "4\tCasino\n")
    with pytest.raises(DataError, match=f"{items}, line 5: 2 fields where there should be 4"):
        load(tmp_path, write("ml.inter", INTER))
