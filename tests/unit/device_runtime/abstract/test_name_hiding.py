import pytest

from device_runtime.abstract.name_hiding import NameHider, single_word

HIDER = NameHider(
    [
        ("Heat (1995)", "crime"),
        ("It (2017)", "horror"),
        ("Star Wars: Episode IV (1977)", "sci-fi"),
        ("Star Wars", "space"),
        ("Drama", "nothing"),
        ("", "nothing"),
        ("Crime Story", "series"),
    ],
    kept=("drama",),
)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("I saw Heat (1995), twice", "I saw crime, twice"),
        ("(Heat (1995)) was good", "(crime) was good"),
        ("Heat was good but the heat was not", "crime was good but the heat was not"),
        ("It is late; it (2017) scared me", "It is late; horror scared me"),
        ("star wars - episode iv or Star Wars?", "sci-fi or space?"),
        ("any drama", "any drama"),
        ("a crime story", "a series"),
        ("", ""),
    ],
)
def test_names_are_said_by_kind(text, hidden):
    assert HIDER.hide(text) == hidden


def test_the_users_own_items_are_found_in_any_case():
    assert HIDER.hide("the heat, again", [single_word("Heat (1995)")]) == "the crime, again"
    assert HIDER.hide("it is late", [single_word("It (2017)")]) == "it is late"


def test_a_name_that_a_replacement_forms_is_replaced_too():
    assert HIDER.hide("Heat story") == "series"


@pytest.mark.parametrize(
    ("name", "word"),
    [("Heat (1995)", "heat"), ("HEAT", "heat"), ("It (2017)", ""), ("Crime Story", ""), ("", "")],
)
def test_names_of_one_word(name, word):
    assert single_word(name) == word
