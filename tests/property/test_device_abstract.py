"""No item id, exact timestamp, coordinate or address leaves the device, whatever the catalogue."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.abstract.sanitise import clean_text
from device_runtime.abstract.vocabulary import speakable
from device_runtime.abstract.week import DAY_PARTS, WEEKDAYS
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import RequestContext
from shared.abstract_form import AbstractForm
from shared.interactions import Catalogue
from tests.support.pasts import past
from tests.support.tiers import examples

# Words that the template itself says; an id that happens to be one of them is not leaked by it.
TEMPLATE_SENTENCES = (
    "Mostly some and around often returns to recently no history yet it is asks nothing to tell "
    "on weekdays weekends weekday weekend nights mornings middays afternoons evenings before "
    "in this session"
)
TEMPLATE_WORDS = {
    word.lower()
    for words in (TEMPLATE_SENTENCES, *WEEKDAYS, *(part for _, part in DAY_PARTS))
    for word in words.split()
}
LEAKS = {
    "address": re.compile(r"@|://|www\."),
    "coordinate": re.compile(r"\d\.\d{3}|\d\s*°"),
    "clock time": re.compile(r"\d:\d\d"),
    "date": re.compile(r"\d{4}-\d\d?-\d|\d/\d\d?/\d"),
    "long number": re.compile(r"\d{5}"),
    "phone number": re.compile(r"\d{3}[-. ]\d{4}\b(?!\))"),
}

number = st.integers(1, 99_999).map(str)
opaque = st.one_of(
    st.text("0123456789abcdef", min_size=24, max_size=24),
    st.from_regex(r"\A[A-Z]0[0-9]{4}[A-Z0-9]{4}\Z"),
    st.uuids().map(str),
    st.from_regex(r"\Att[0-9]{7}\Z"),
)
word = st.sampled_from(["pizza", "drama", "Heat", "cafe", "noir", "jazz", "museum", "tea"])
phrase = st.sampled_from(["pizza noir", "sku-77x", "jazz/tea", "Heat: museum"])
item_id = st.one_of(number, opaque, word, phrase, st.from_regex(r"\A[a-z]{1,3}_[0-9]{1,4}\Z"))
secret = st.one_of(
    opaque,
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(lambda p: f"{p[0]:.5f},{p[1]:.5f}"),
    st.datetimes().map(lambda d: d.isoformat()),
    st.datetimes().map(lambda d: f"{d:%H:%M}"),
    st.integers(10**9, 2 * 10**9).map(str),
    st.emails(),
    st.from_regex(r"\A@[a-z0-9_]{3,12}\Z"),
    st.from_regex(r"\A\+1 \([2-9][0-9]{2}\) [0-9]{3}-[0-9]{4}\Z"),
    st.from_regex(r"\Ahttps://[a-z]{3,9}\.example/[a-z0-9]{4,9}\Z"),
)


LEVELS = st.sampled_from(["items", "coarse", "categories"])


def stands_in(phrase: str, text: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE))


@st.composite
def catalogues(draw):
    ids = draw(st.lists(item_id, min_size=1, max_size=6, unique_by=str.casefold))
    titles, categories, areas = [], [], []
    for own in ids:
        pieces = st.lists(st.one_of(word, secret, st.just(own)), min_size=1, max_size=4)
        titles.append(" ".join(draw(pieces)))
        categories.append(tuple(draw(st.lists(st.one_of(word, secret, st.just(own)), max_size=2))))
        areas.append(draw(st.one_of(st.just(""), word, secret, st.just(own))))
    return Catalogue(
        ids=tuple(ids),
        titles=tuple(titles),
        categories=tuple(categories),
        areas=tuple(areas),
        texts=tuple(titles),
    )


@settings(max_examples=examples(150), deadline=None)
@given(catalogues(), st.data())
def test_nothing_that_identifies_is_in_an_abstract(catalogue, data):
    items = data.draw(st.lists(st.integers(0, len(catalogue) - 1), max_size=12))
    query = " ".join(
        data.draw(st.lists(st.one_of(word, secret, st.sampled_from(catalogue.ids)), max_size=4))
    )
    time = data.draw(st.none() | st.floats(0, 2e9))
    hour = data.draw(st.floats(0, 167.9))
    hours = [hour] * len(items)
    session = data.draw(st.none() | st.integers(0, 14))
    context = RequestContext(time, hour, query, session)
    form = AbstractForm(level=data.draw(LEVELS), context=data.draw(st.booleans()))
    writer = TemplateAbstract(catalogue, form)
    text = writer.write(past(items, hours), context)

    assert text
    assert text.isprintable()
    for kind, pattern in LEAKS.items():
        assert not pattern.search(text), f"{kind} in {text!r}"
    # The user's own numeric ids may only be met as part of another item's name, which holds none.
    for item in set(items):
        own = catalogue.ids[item]
        if own.lower() not in TEMPLATE_WORDS and not (own.isdigit() and own in query.split()):
            assert not stands_in(own, text), f"id {own!r} in {text!r}"
    assert writer.write(past(items, hours), context) == text


@settings(max_examples=examples(500), deadline=None)
@given(st.lists(st.one_of(st.text(max_size=12), word, secret, number), max_size=8).map(" ".join))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean_text(text)
    assert clean_text(once) == once
    for kind, pattern in LEAKS.items():
        assert not pattern.search(once), f"{kind} in {once!r}"


name_word = st.sampled_from(["Heat", "Alien", "Fargo", "Monkeys", "Babe", "Casino", "Brazil"])
names = st.lists(name_word, min_size=1, max_size=3).map(" ".join)
year = st.sampled_from(["", " (1995)", " (2016)"])
hood = st.sampled_from(["", "Soho", "Harlem", "New York, NY"])
kinds = st.lists(st.sampled_from(["crime", "drama", "horror", "cafe"]), max_size=3)
chatter = st.sampled_from(["I liked", "and", "something with robots?", "in", "crime", "no,"])


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_no_name_at_lower_levels_and_no_area_at_the_lowest(data):
    n = data.draw(st.integers(1, 6))
    titles = tuple(data.draw(names) + data.draw(year) for _ in range(n))
    areas = tuple(data.draw(hood) for _ in range(n))
    categories = tuple(tuple(data.draw(kinds)) for _ in range(n))
    catalogue = Catalogue(
        ids=tuple(f"v{i}x" for i in range(n)),
        titles=titles,
        categories=categories,
        areas=areas,
        texts=titles,
    )
    items = data.draw(st.lists(st.integers(0, n - 1), max_size=8))
    said = st.sampled_from([*titles, *(title.lower() for title in titles), *filter(None, areas)])
    query = " ".join(data.draw(st.lists(st.one_of(chatter, said), max_size=6)))
    context = RequestContext(1.2e9, 33.0, query, data.draw(st.none() | st.integers(0, 8)))
    for level in ("coarse", "categories"):
        text = TemplateAbstract(catalogue, AbstractForm(level=level)).write(past(items), context)
        for item in set(items):
            assert not stands_in(re.sub(r" \(.*", "", titles[item]), text), f"{level}: {text!r}"
        for title in titles:
            if " " in title.removesuffix(title[-7:]):
                assert not stands_in(title, text), f"{level}: {text!r}"
    for area in filter(None, areas):
        assert not stands_in(area, text), f"{area!r} in {text!r}"


anything = st.one_of(st.text(max_size=20), secret, word, names, kinds.map(" ".join), st.emails())
GRAMMAR = (
    *("No history yet.", "Nothing to tell.", "Mostly", "some", "and", "Often returns to"),
    *("Recently:", "Before:", "In this session:", "Asks:", "It is"),
    *(f"On {days} {part}s:" for days in ("weekday", "weekend") for _, part in DAY_PARTS),
    *(f"{day} {part}" for day in WEEKDAYS for _, part in DAY_PARTS),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_at_the_lowest_level_nothing_but_the_vocabulary_and_the_template_is_said(data):
    """Read back as sentences of the template, with members of the vocabulary in their places."""
    n = data.draw(st.integers(1, 5))
    told = data.draw(st.lists(st.sampled_from(["crime", "drama", "film noir", "café"]), max_size=4))
    catalogue = Catalogue(
        ids=tuple(f"v{i}x" for i in range(n)),
        titles=tuple(data.draw(anything) for _ in range(n)),
        categories=tuple(
            tuple(data.draw(st.lists(anything | st.sampled_from(["Crime", "drama"]), max_size=3)))
            for _ in range(n)
        ),
        areas=tuple(data.draw(anything) for _ in range(n)),
        texts=("",) * n,
        # What training chose is checked again: a damaged list adds nothing that is no plain kind.
        vocabulary=data.draw(
            st.none() | st.just(tuple(told)) | st.just((*told, "call 5551234567"))
        ),
    )
    items = data.draw(st.lists(st.integers(0, n - 1), max_size=8))
    query = " ".join(data.draw(st.lists(anything | st.just("a crime drama"), max_size=5)))
    context = RequestContext(data.draw(st.none() | st.just(1.2e9)), 33.0, query, None)
    writer = TemplateAbstract(catalogue, AbstractForm(level="categories"))
    text = writer.write(past(items), context)

    members = speakable(
        (c for categories in catalogue.categories for c in categories)
        if catalogue.vocabulary is None
        else catalogue.vocabulary
    )
    assert not any(c.isdigit() for phrase in members for c in phrase)
    pieces = sorted((re.escape(piece) for piece in (*GRAMMAR, *members)), key=len, reverse=True)
    assert re.fullmatch(rf"(?:(?:{'|'.join(pieces)})(?:, | |\.|\. |$))+", text), text
    if catalogue.vocabulary is not None:
        assert set(members) <= set(told)
