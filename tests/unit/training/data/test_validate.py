"""What build_log drops, repairs, counts and refuses."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shared.errors import DataError
from training.data.text import describe
from training.data.validate import build_log


def build(rows, *, timed=True, items=None, min_events=3):
    names = ["user", "item", "time"] if timed else ["user", "item"]
    schema = {"user": pl.String, "item": pl.String, "time": pl.Float64}
    events = pl.DataFrame(rows, schema={name: schema[name] for name in names}, orient="row")
    return build_log("log", events, items, min_events=min_events, source=Path("log.csv"))


def test_duplicate_rows_are_dropped_and_counted():
    log = build(
        [("u", "a b c", 1.0), ("u", "a b c", 1.0), ("u", "a b c", 2.0), ("u", "d e f", 3.0)]
    )
    assert len(log) == 3
    assert log.notes[0] == "1 duplicate rows (25.0%; same user, item and time) dropped"


def test_repeats_without_times_are_events():
    assert len(build([("u", "one")] * 3, timed=False)) == 3


def test_unsorted_events_are_sorted_stably():
    rows = [("u", "late", 9.0), ("u", "tie one", 1.0), ("u", "tie two", 1.0), ("u", "first", 0.0)]
    log = build(rows)
    assert [log.catalogue.ids[i] for i in log.item] == ["first", "tie one", "tie two", "late"]
    assert "events of 1 users were not in time order; sorted" in log.notes


def test_users_interleaved_in_time_are_not_called_unsorted():
    log = build([(user, f"word {t}", float(t)) for t in range(3) for user in "ba"])
    assert log.notes == ()
    assert log.user_ids == ("a", "b")


def test_short_users_are_dropped_and_counted():
    log = build([("long", f"word {t}", float(t)) for t in range(3)] + [("short", "rare one", 1.0)])
    assert log.user_ids == ("long",)
    assert "rare one" not in log.catalogue.ids
    assert "1 users with fewer than 3 events dropped" in log.notes


def test_nobody_left():
    with pytest.raises(DataError, match=r"log.csv: none of its 2 users has 3 or more interactions"):
        build([("a", "x", 1.0), ("b", "x", 1.0), ("b", "y", 2.0)])


def test_numeric_ids_order_by_value():
    log = build([("u", item, float(t)) for t, item in enumerate(["10", "9", "abc", "100"])])
    assert log.catalogue.ids == ("9", "10", "100", "abc")


def test_the_catalogue_does_not_depend_on_who_met_an_item_when_or_how_often():
    """Its order and words would otherwise tell a model of events that are still to come."""
    words = {"a": describe("Alien"), "b": describe("Brazil"), "c": describe("Casablanca")}
    one = build([("u", i, float(t)) for t, i in enumerate("abcaab")], items=words)
    other = build([("u", i, float(t)) for t, i in enumerate("cabccc")], items=words)
    assert not (one.item == other.item).all()
    assert one.catalogue == other.catalogue


def test_unknown_items_are_kept_and_counted():
    rows = [("u", item, float(t)) for t, item in enumerate(["a", "b", "c"])]
    log = build(rows, items={"a": describe("Alpha"), "z": describe("Omega")})
    assert log.catalogue.titles == ("Alpha", "unknown item", "unknown item")
    assert log.notes == (
        "1 of the log's 3 items (33.3%) have item text",
        "1 items without an interaction left out",
        "2 items have no words, only an id: they count as 'unknown item' "
        "and the text model cannot tell them apart",
    )
