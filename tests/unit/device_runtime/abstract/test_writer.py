import time

import pytest

from device_runtime.abstract.sentences import LongTerm, tokens
from device_runtime.abstract.words import shared_titles
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import RequestContext
from shared.abstract_form import AbstractForm
from shared.interactions import Catalogue
from shared.schemas import SnapshotRequest
from tests.support.pasts import past

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
    return Catalogue(
        ids=ids, titles=titles, categories=categories, areas=areas or ("",) * len(ids), texts=titles
    )


def write(items, context=FRIDAY_EVENING, form=None, hours=None, **kwargs):
    writer = TemplateAbstract(catalogue(**kwargs), form)
    return writer.write(past(items, hours), context)


def test_profile_returns_recent_events_and_moment_in_words():
    assert write([0, 2, 0, 3]) == (
        "Mostly crime and drama, some comedy and film noir. Often returns to Heat (1995). "
        "Recently: Heat (1995), Fargo (1996), Heat (1995), Babe (1995). It is Friday evening."
    )


MORNINGS = [8.5 + 24 * day for day in range(5)]


def test_habits_of_the_requests_time_of_the_week():
    hours = [*MORNINGS, 18.0, 130.0]
    text = write([0, 1, 0, 1, 0, 3, 2], RequestContext(1.2e9, 33.0), hours=hours)
    assert "On weekday mornings: Heat (1995), Monkeys (1995). Recently:" in text
    assert text.endswith("It is Tuesday morning.")
    assert "On " not in write([0, 1], RequestContext(1.2e9, 160.0), hours=[33.0, 57.0])
    assert "On " not in write([0, 1], RequestContext(None, 0.0))


def test_among_equal_habits_the_most_recent_comes_first_and_where_nothing_repeats_none_is_told():
    morning = RequestContext(1.2e9, 33.0)
    alphabetical, hours = [3, 2, 0, 1], [8.5, 9.5, 33.5, 34.5]
    assert "On " not in write(alphabetical, morning, hours=hours)
    text = write([3, *alphabetical], morning, hours=[8.5, *hours])
    assert "On weekday mornings: Babe (1995), Monkeys (1995), Heat (1995). Recently:" in text
    text = write([3, 0, 3, 0, 2], morning, hours=[8.5] * 5)
    assert "On weekday mornings: Heat (1995), Babe (1995), Fargo (1996). Recently:" in text


def test_among_equals_recent_categories_and_areas_come_first_then_the_alphabet():
    areas = ("Soho", "Harlem", "Astoria", "", "")
    assert write([0, 1, 3], areas=areas).startswith(
        "Mostly drama and comedy, some sci fi and crime. Around Harlem and Soho."
    )
    assert write([1, 0], areas=areas).startswith(
        "Mostly drama and crime, some sci fi. Around Soho and Harlem."
    )
    assert write([3, 2], areas=areas).startswith("Mostly crime and film noir, some comedy.")


def test_without_context_the_usual_habits_are_told_and_no_moment():
    form = AbstractForm(context=False)
    hours = [*MORNINGS, 18.0, 18.0, 130.0]
    texts = {
        write([0, 1, 0, 1, 0, 3, 3, 2], RequestContext(1.2e9, moment), form, hours=hours)
        for moment in (8.5, 33.0, 130.0, 160.0)
    }
    assert len(texts) == 1
    text = texts.pop()
    assert "On weekday mornings: Heat (1995), Monkeys (1995). On weekday evenings: Babe" in text
    assert "It is" not in text
    assert "weekend" not in text


@pytest.mark.parametrize(
    ("session_events", "words"),
    [
        (0, "Before: Heat (1995), Fargo (1996), Babe (1995). Asks"),
        (1, "Before: Heat (1995), Fargo (1996). In this session: Babe (1995). Asks"),
        (3, "drama. In this session: Heat (1995), Fargo (1996), Babe (1995). Asks"),
        (9, "drama. In this session: Heat (1995), Fargo (1996), Babe (1995). Asks"),
        (None, "Recently: Heat (1995), Fargo (1996), Babe (1995). Asks"),
    ],
)
def test_the_present_session_is_told_apart(session_events, words):
    assert words in write([0, 2, 3], RequestContext(None, 0.0, "More!", session_events))


def test_lower_levels_name_no_item_and_the_lowest_no_decade_or_area():
    context = RequestContext(None, 0.0, "like Heat (1995), fargo or 12 monkeys? I like crime")
    assert write([0, 2, 0], context, AbstractForm(level="coarse")) == (
        "Mostly crime and drama, some film noir. Around 1990s. Often returns to crime drama 1990s. "
        "Recently: crime drama 1990s, crime film noir 1990s, crime drama 1990s. "
        "Asks: like crime drama 1990s, crime film noir 1990s or sci fi drama 1990s? I like crime"
    )
    assert write([0, 2, 0], context, AbstractForm(level="categories")) == (
        "Mostly crime and drama, some film noir. Often returns to crime drama. "
        "Recently: crime drama, crime film noir, crime drama. "
        "Asks: crime, drama, film noir, sci fi"
    )


def test_places_are_told_by_kind_and_area_then_by_kind():
    rows = [("1", "Fat Cat", ("Venue", "Jazz Club")), ("2", "Rosa's", ("Dining", "Pizzeria"))]
    options = {"rows": rows, "areas": ("Harlem", "Soho"), "context": RequestContext(None, 0.0)}
    assert "Recently: jazz club in Harlem, pizzeria in Soho." in write(
        [0, 1], form=AbstractForm(level="coarse"), **options
    )
    text = write([0, 1], form=AbstractForm(level="categories"), **options)
    assert "Recently: jazz club, pizzeria." in text
    assert "Harlem" not in text


def test_the_newest_words_of_a_long_query_are_passed_on():
    form = AbstractForm(query_chars=20)
    text = write([0], RequestContext(None, 0.0, "first of all hello, now a scary film"), form)
    assert text.endswith("Asks: now a scary film")


def test_areas_are_named_in_words():
    text = write([0, 0, 3], areas=("SoHo", "", "", "Queens at 40.71234", ""))
    assert "Around SoHo and Queens at." in text


CHAIN = [
    ("1", "Starbucks", ("Coffee Shop",)),
    ("2", "STARBUCKS ", ("Coffee Shop",)),
    ("3", "starbucks", ("Coffee Shop",)),
    ("4", "Fat Cat", ("Jazz Club",)),
    ("5", "Hotel", ("Hotel",)),
    ("6", "Hotel", ("Hotel",)),
]
PLACES = ("Midtown South", "Harlem", "", "Soho", "ann@example.org", "Queens at 40.71234")


def test_names_that_items_share_are_told_with_their_area():
    text = write([0, 1, 2, 3, 4, 5, 1], RequestContext(None, 0.0), rows=CHAIN, areas=PLACES)
    assert "Often returns to STARBUCKS in Harlem. Recently: STARBUCKS in Harlem, starb" in text
    assert text.endswith("starbucks, Fat Cat, Hotel, Hotel in Queens at, STARBUCKS in Harlem.")
    context = RequestContext(None, 0.0)
    for level, names in (
        ("coarse", "coffee shop in Midtown South, coffee shop."),
        ("categories", "coffee shop."),
    ):
        text = write([0, 2], context, AbstractForm(level=level), rows=CHAIN, areas=PLACES)
        assert text.endswith(f"Recently: {names}")


def test_a_name_and_an_area_that_give_something_away_together_are_not_joined():
    rows = [("a1x", "Passport", ("bar",)), ("b1x", "Passport", ("bar",))]
    text = write([0, 1], RequestContext(None, 0.0), rows=rows, areas=("1234", "Soho"))
    assert text == "Mostly bar. Around Soho and 1234. Recently: Passport, Passport in Soho."


def test_shared_names_of_a_large_catalogue_are_counted_fast():
    titles = [f"Place {i // 2}" for i in range(50_000)]
    started = time.perf_counter()
    shared = shared_titles(titles)
    assert time.perf_counter() - started < 0.5
    assert len(shared) == 25_000


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
    short = write([0, 1, 2, 3], form=AbstractForm(max_tokens=36))
    assert "Babe (1995)." in short
    assert "Recently: Heat" not in short
    assert tokens(short) <= 36


LONG_NAMES = [
    (
        f"x{i}y",
        f"The Extraordinary Establishment Number {i} of Brooklyn",
        ("Jazz Club", f"Kind {i}"),
    )
    for i in range(12)
]


@pytest.mark.parametrize("max_tokens", [20, 50, 100, 200])
@pytest.mark.parametrize("context", [True, False])
def test_latest_events_have_two_fifths_of_the_length_whatever_else_there_is_to_tell(
    max_tokens, context
):
    areas = tuple(f"Neighbourhood {i}" for i in range(12))
    form = AbstractForm(max_tokens=max_tokens, context=context)
    items = [i for i in range(12) for _ in range(3)] + list(range(6))
    text = write(items, form=form, rows=LONG_NAMES, areas=areas)
    lasting, _, latest = text.partition("Recently:")
    moment = "It is Friday evening." if context else ""
    if max_tokens >= 50:  # or one name is all there is room for
        assert tokens(text) <= max_tokens
    assert tokens(lasting) + tokens(moment) <= 0.6 * max_tokens
    assert latest.endswith("Number 5 of Brooklyn. It is Friday evening." if context else "klyn.")
    told = latest.count("Establishment")
    assert told == 6 or tokens(text) + 14 > max_tokens


def test_fewer_habits_then_fewer_returns_then_areas_and_categories():
    everything = LongTerm(
        categories=("crime", "drama", "war"),
        areas=("Soho", "Harlem"),
        favourites=("Heat", "Fargo", "Casino"),
        habits=(("weekday morning", ("Babe", "Alien")), ("weekend night", ("Brazil",))),
    )
    said = []
    for room in range(tokens(" ".join(everything.sentences())), -1, -1):
        text = " ".join(everything.fitted(room).sentences())
        assert tokens(text) <= room
        if text not in said:
            said.append(text)
    start = "Mostly crime and drama, some war."
    middle = f"{start} Around Soho and Harlem."
    two = f"{middle} Often returns to Heat, Fargo."
    all_three = f"{middle} Often returns to Heat, Fargo, Casino."
    morning, night = "On weekday mornings: Babe", "On weekend nights: Brazil."
    assert said == [
        *(f"{all_three} {morning}, Alien. {night}", f"{all_three} {morning}. {night}"),
        *(f"{two} {morning}. {night}", f"{two} {morning}.", two),
        *(f"{middle} Often returns to Heat.", middle, f"{start} Around Soho."),
        *(start, "Mostly crime and drama.", "Mostly crime.", ""),
    ]


@pytest.mark.parametrize("n", [1, 10, 500])
def test_the_default_length_suits_a_small_text_model(n):
    assert tokens(write([i % 5 for i in range(n)])) <= AbstractForm().max_tokens


def test_the_same_history_gives_the_same_words():
    assert write([0, 1, 2, 3, 0, 1]) == write([0, 1, 2, 3, 0, 1])
