import numpy as np
import pytest

from device_runtime.abstract import AbstractShape, TemplateAbstract, moment_in_words, tokens
from device_runtime.history import RequestContext
from shared.interactions import Catalogue
from shared.schemas import SnapshotRequest

FILMS = [
    ("11", "Heat (1995)", ("Crime", "Drama")),
    ("12", "12 Monkeys (1995)", ("Sci-Fi", "Drama")),
    ("13", "Fargo (1996)", ("Crime", "Film-Noir")),
    ("14", "Babe (1995)", ("Comedy",)),
    ("15", "15", ("Comedy",)),
]
FRIDAY_EVENING = RequestContext(1.2e9, 4 * 24 + 18.5)


def catalogue(rows=FILMS, areas=None):
    ids, titles, categories = zip(*rows, strict=True)
    return Catalogue(ids, titles, categories, areas or ("",) * len(ids), titles)


def write(items, context=FRIDAY_EVENING, shape=None, **kwargs):
    writer = TemplateAbstract(catalogue(**kwargs), shape)
    return writer.write(np.array(items, dtype=np.int32), context)


def test_profile_returns_recent_events_and_moment_in_words():
    assert write([0, 2, 0, 3]) == (
        "Mostly crime and drama, some comedy and film noir. Often returns to Heat (1995). "
        "Recently: Heat (1995), Fargo (1996), Heat (1995), Babe (1995). It is Friday evening."
    )


def test_areas_are_named_in_words():
    text = write([0, 0, 3], areas=("SoHo", "", "", "Queens at 40.71234", ""))
    assert "Around SoHo and Queens at." in text


def test_an_items_own_number_does_not_leave_and_its_category_stands_in():
    text = write([1, 4])
    assert "Recently: Monkeys (1995), comedy." in text
    assert "12" not in text
    assert "15" not in text


def test_without_history_or_times_there_is_still_something_to_send():
    text = write([], RequestContext(None, 0.0))
    assert text == "No history yet."
    assert SnapshotRequest(abstract=text, step=0).abstract == text


def test_items_without_any_words_but_their_ids_still_give_something_to_send():
    text = write([0, 1], RequestContext(None, 0.0), rows=[("ab1", "ab1", ()), ("cd2", "cd2", ())])
    assert text == "Nothing to tell."


def test_the_query_is_sanitised_and_joined():
    text = write([0], RequestContext(None, 0.0, "like Heat? mail ann@example.org, id tt0113277"))
    assert text.endswith("Asks: like Heat? mail id")


def test_a_log_without_times_claims_no_weekday():
    assert "It is" not in write([0], RequestContext(None, 0.0))


def test_only_the_newest_titles_that_fit_are_named():
    short = write([0, 1, 2, 3], shape=AbstractShape(max_tokens=36))
    assert "Babe (1995)." in short
    assert "Recently: Heat" not in short
    assert tokens(short) <= 36


@pytest.mark.parametrize("n", [1, 10, 500])
def test_the_default_length_suits_a_small_text_model(n):
    assert tokens(write([i % 5 for i in range(n)])) <= AbstractShape().max_tokens


def test_the_same_history_gives_the_same_words():
    assert write([0, 1, 2, 3, 0, 1]) == write([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize(
    ("hour", "words"),
    [
        (0.0, "Monday night"),
        (5.0, "Monday early morning"),
        (36.0, "Tuesday midday"),
        (167.99, "Sunday late evening"),
        (168.0, "Monday night"),
        (-1.0, "Sunday late evening"),
    ],
)
def test_moments(hour, words):
    assert moment_in_words(hour) == words
