"""``user item item ...`` lines."""

from __future__ import annotations

import pytest

from shared.errors import DataError
from shared.settings import LogSettings
from training.datasets.registry import load_log


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


@pytest.mark.data
def test_amazon_beauty_has_the_published_counts(tmp_path, real_data):
    log = load(tmp_path, real_data / "beauty.txt.gz", items=real_data / "beauty_items.tsv.gz")
    assert (log.n_users, len(log.catalogue), len(log)) == (22_363, 12_101, 198_502)
    assert "unknown item" not in log.catalogue.titles
