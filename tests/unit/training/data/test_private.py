"""What a log's catalogue says of its users: nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from training.data.private import MIN_ITEMS, MIN_USERS, queries_without_users
from training.data.text import Item, describe
from training.data.validate import build_log


def log_of(items: dict[str, Item], users=("ann_lee", "Bob Fox", "12", "31415926")):
    rows = [(user, item) for user in users for item in items]
    events = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String}, orient="row")
    return build_log("log", events, items, min_events=1, source=Path("log.csv"))


def test_names_of_the_logs_users_are_cut_from_the_words_of_items():
    items = {
        "a": describe("Mixtape by Ann_Lee", categories=("Made by bob  fox",), area="31415926 Road"),
        "b": describe("12 Monkeys (1995)", categories=("Drama",)),
        "c": describe("A fox, a bob", more="for ann_lee and (Bob Fox)"),
    }
    log = log_of(items)
    assert log.catalogue.titles == ("Mixtape by", "12 Monkeys (1995)", "A fox, a bob")
    assert log.catalogue.categories[:2] == (("Made by",), ("Drama",))
    assert log.catalogue.areas[0] == "Road"
    assert "ann_lee" not in log.catalogue.texts[2]
    assert "2 items named a user of the log in their words; cut out" in log.notes


def test_names_of_the_logs_users_are_cut_from_queries():
    queries = pl.Series("query", ["I am ann_lee, a film please", "12 monkeys", ""])
    told = queries_without_users(queries, ["ann_lee", "12"]).to_list()
    assert told == ["I am , a film please", "12 monkeys", ""]


def test_ordinary_items_are_left_as_they_are():
    items = {"a": describe("12 Monkeys (1995)"), "b": describe("  The   Fox &amp; Bob ")}
    log = log_of(items)
    assert log.catalogue.texts == tuple(item.text for item in items.values())
    assert not any("named a user" in note for note in log.notes)


def test_a_category_of_few_items_or_few_users_is_not_in_the_vocabulary():
    common = {f"c{i}": describe(f"Film {i}", categories=("Drama",)) for i in range(MIN_ITEMS)}
    rare = {f"r{i}": describe(f"Film {i}", categories=("Noir",)) for i in range(MIN_ITEMS - 1)}
    own = {f"o{i}": describe(f"Film {i}", categories=("Garden of mine",)) for i in range(MIN_ITEMS)}
    users = [f"user {name}" for name in "abcdef"]
    rows = [(user, item) for user in users for item in (*common, *rare)]
    rows += [(user, item) for user in users[: MIN_USERS - 1] for item in own]
    events = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String}, orient="row")
    items = common | rare | own
    log = build_log("log", events, items, min_events=1, source=Path("log.csv"))
    assert log.catalogue.vocabulary == ("drama",)
