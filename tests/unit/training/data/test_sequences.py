"""``user item item ...`` lines."""

from __future__ import annotations

import pytest

from shared.errors import DataError
from training.data.registry import load_log
from training.settings import LogSettings

LINE = "1 4 5 6 7 8\n"


def load(tmp_path, path, **fields):
    return load_log(LogSettings(path=path, **fields), cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["beauty.txt", "beauty.txt.gz"])
def test_order_is_kept_and_there_are_no_times(tmp_path, write, name):
    items = write("items.tsv", "item_id\ttitle\n4\tLipstick\n")
    log = load(tmp_path, write(name, "1 4 2 9 1 2\n2 4 5 6 7 8\n3 1\n"), items=items)
    assert (log.name, log.time) == ("beauty", None)
    assert [log.catalogue.ids[i] for i in log.item[log.events_of(0)]] == ["4", "2", "9", "1", "2"]
    assert log.catalogue.titles[log.item[0]] == "Lipstick"
    assert "1 users with fewer than 5 events dropped" in log.notes


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("1 2 3 4 5 6\n2\n", 2, "user '2' has no items"),
        ("1 2 3 4 5 6\n\n1 5\n", 3, "user '1' already has line 1"),
    ],
)
def test_bad_line_is_named(tmp_path, write, content, line, message):
    path = write("log.txt", content)
    with pytest.raises(DataError, match=f"{path}, line {line}: {message}"):
        load(tmp_path, path)


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_item_text_beside_is_found(tmp_path, write, packed):
    write(f"plays_items.tsv{packed}", "item_id\ttitle\n4\tLipstick\n")
    log = load(tmp_path, write("plays.txt.gz", LINE))
    assert log.catalogue.titles == ("Lipstick", *["unknown item"] * 4)
    assert f"item text from plays_items.tsv{packed} beside it" in log.notes
    assert log.terms == ""  # nothing says it is Amazon's


def test_named_items_come_before_those_beside(tmp_path, write):
    write("plays_items.tsv", "item_id\ttitle\n4\tLipstick\n")
    items = write("better.tsv", "item_id\ttitle\n4\tRed Lipstick\n")
    assert load(tmp_path, write("plays.txt", LINE), items=items).catalogue.titles[0] == (
        "Red Lipstick"
    )


def test_amazon_products_in_words(tmp_path, write):
    write(
        "beauty_items.tsv.gz",
        "item_id\tasin\ttitle\tbrand\tprice\tcategories\ttextual_id\n"
        '4\tB004756YJA\t23\\" Lip &amp; Nail\\\tSet\tL&amp;#39;Oreal\t12.0\tMakeup|Nails\tlip\n'
        "5\tB004ZT0SSG\tSoap\tunknown\tunknown\tBath\tsoap\n",
    )
    log = load(tmp_path, write("beauty.txt", LINE))
    assert log.catalogue.titles[:2] == ('23" Lip & Nail Set', "Soap")
    assert log.catalogue.categories[:2] == (("Makeup", "Nails"), ("Bath",))
    assert log.catalogue.texts[:2] == (
        "23\" Lip & Nail Set. Makeup, Nails. By L'Oreal. Price $12.00",
        "Soap. Bath",
    )
    assert "no licence stated" in log.terms
    assert not any("B004" in text for text in log.catalogue.texts)


def test_amazon_products_with_short_texts_alone(tmp_path, write):
    write("toys_items.tsv", "item_id\tasin\ttextual_id\tmapping\n4\tB1\tstar wars\texact\n")
    log = load(tmp_path, write("toys.txt", LINE))
    assert log.catalogue.texts[0] == "star wars"


def test_terms_follow_the_name_without_item_text(tmp_path, write):
    log = load(tmp_path, write("toys.txt", LINE), name="amazon-toys")
    assert log.terms.startswith("Amazon reviews")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("5\tB1\n", "2 fields where there should be 3"),
        ("\tB1\tsoap\n", "column 'item_id' is empty"),
        ("5\tB1\tso\\\tap\tsoap\n", "4 fields where there should be 3"),
    ],
)
def test_bad_product_is_named(tmp_path, write, row, message):
    items = write("toys_items.tsv", 'item_id\tasin\ttextual_id\n4\tB0\ta \\" b\n' + row)
    with pytest.raises(DataError, match=f"{items}, line 3: {message}"):
        load(tmp_path, write("toys.txt", LINE))


def test_products_without_any_text_are_refused(tmp_path, write):
    write("toys_items.tsv", "item_id\tasin\n4\tB0\n")
    with pytest.raises(DataError, match="no column 'textual_id'"):
        load(tmp_path, write("toys.txt", LINE))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts", "text"),
    [
        (
            "beauty",
            (22_363, 12_101, 198_502),
            "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce. Makeup, Nails, Nail Polish. "
            "By OPI. Price $12.00",
        ),
        ("toys", (19_412, 11_924, 167_597), "pocoyo and friends swiggle"),
    ],
)
def test_amazon_logs_have_the_published_counts(tmp_path, real_data, name, counts, text):
    log = load(tmp_path, real_data / f"{name}.txt.gz")
    assert (log.n_users, len(log.catalogue), len(log)) == counts
    assert log.catalogue.texts[0] == text
    assert "unknown item" not in log.catalogue.titles
    assert not any("&amp;" in text or "&#" in text for text in log.catalogue.texts)
    assert log.terms.startswith("Amazon reviews")


def test_what_means_missing_is_no_id(tmp_path, write):
    with pytest.raises(DataError, match=r"log\.txt, line 2: 'NULL' means missing and is no id"):
        load(tmp_path, write("log.txt", "1 10 11 12\n2 10 NULL 12\n"))
