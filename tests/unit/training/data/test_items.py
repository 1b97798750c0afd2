"""Item text files."""

from __future__ import annotations

import polars as pl
import pytest

from shared.errors import DataError
from training.data.items import read_items


def test_usual_columns_find_their_role(write):
    path = write(
        "items.tsv",
        "asin\titem_id\ttitle\tbrand\tprice\tcategories\tcity\n"
        "B1\t7\tNail Lacquer\tOPI\t12.0\tMakeup|Nails\tParis\n",
    )
    item = read_items(path)["7"]
    assert (item.title, item.categories, item.area) == (
        "Nail Lacquer",
        ("Makeup", "Nails"),
        "Paris",
    )
    assert item.text == "Nail Lacquer. Makeup, Nails. Paris. OPI"


def test_first_column_is_the_id_and_any_column_the_text(write):
    items = read_items(write("items.csv", "key,words,number\n1,alpha,5\n2,beta,6\n2,gamma,7\n"))
    assert {key: item.text for key, item in items.items()} == {"1": "alpha", "2": "beta"}


def test_joined_ids_where_the_file_has_both_columns(write):
    path = write("items.csv", "artist,track,genre\nA,One,Rock\nA,Two,Pop\n")
    items = read_items(path, ("artist", "track"))
    assert [item.categories for item in items.values()] == [("Rock",), ("Pop",)]


def test_list_columns_of_parquet(tmp_path):
    path = tmp_path / "items.parquet"
    pl.DataFrame({"id": [1], "name": ["Heat"], "genres": [["Crime", "Drama"]]}).write_parquet(path)
    assert read_items(path)["1"].categories == ("Crime", "Drama")


def test_ids_without_text_are_refused(write):
    with pytest.raises(DataError, match="no column with text"):
        read_items(write("items.csv", "item_id\n1\n"))


def test_empty_id_is_named_by_line(write):
    path = write("items.csv", "item_id,title\n1,a\n,b\n")
    with pytest.raises(DataError, match=f"{path}, line 3: column 'item_id' is empty"):
        read_items(path)


def test_lists_that_a_program_wrote_as_text_are_several_categories(write):
    told = """id\ttitle\tgenres
1\tHeat\t['Crime', "Children's"]
2\tBabe\t["Drama"]
3\tPi\t[]
4\tRope\t[untitled]
"""
    items = read_items(write("items.tsv", told))
    assert [item.categories for item in items.values()] == [
        ("Crime", "Children's"), ("Drama",), (), ("[untitled]",)
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["nan", "None", "NULL", "<NA>", "N/A", "\\N"])
def test_what_stands_for_no_text_is_no_word_of_an_item(write, missing):
    told = f"id\ttitle\tgenre\tcity\n1\tHeat\t{missing}\t{missing}\n2\t{missing}\tDrama\tParis\n"
    items = read_items(write("items.tsv", told))
    assert items["1"].text == "Heat"
    assert (items["1"].categories, items["1"].area) == ((), "")
    assert missing not in items["2"].text
