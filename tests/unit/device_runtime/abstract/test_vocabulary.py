"""The closed vocabulary of the level ``categories``."""

from __future__ import annotations

import pytest

from device_runtime.abstract.vocabulary import MAX_PHRASE_CHARS, Vocabulary, speakable

KINDS = ("crime", "film noir", "gym / fitness center", "café", "home (private)")


def test_only_members_come_out_in_the_form_they_have():
    words = Vocabulary(KINDS)
    assert words.only(["Crime", "FILM-NOIR", "Ann's kitchen", "Cafe", "crime"]) == (
        *("crime", "film noir", "café"),
    )


def test_a_query_is_told_by_the_members_it_names_and_by_nothing_else():
    words = Vocabulary(KINDS)
    text = "Ann Lee, 555-1234: a Film Noir or crime near the gym/fitness center? crimes, noir film"
    assert words.said_in(text, 300) == "film noir, crime, gym / fitness center"
    assert words.said_in(text, 18) == "film noir, crime"
    assert words.said_in("write to ann at example dot org", 300) == ""
    assert Vocabulary(()).said_in(text, 300) == ""


@pytest.mark.parametrize(
    "category",
    [
        "Room 12",
        "555-867-5309",
        "crime @ann_lee",
        "example.org",
        "///filled.count.soap",
        "x" * (MAX_PHRASE_CHARS + 1),
        "a b c d e f g h i",
        "a: b",
        "B000C2XYZ7",
        "",
    ],
)
def test_what_is_no_plain_name_of_a_kind_becomes_no_member(category):
    assert speakable([category]) == ()


def test_kinds_of_films_places_and_products_become_members():
    kinds = ("Sci-Fi", "Children's", "Food & Drink Shop", "Gym / Fitness Center", "Home (private)")
    assert speakable(kinds) == (
        *("children's", "food & drink shop", "gym / fitness center", "home (private)", "sci fi"),
    )
    assert "gym / fitness center" not in speakable(kinds, forbidden={"gym"})
