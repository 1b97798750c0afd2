"""A digest kept event by event says what counting the whole history again says."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.abstract.digest import Digest, Sections
from device_runtime.abstract.leaders import Leaders
from device_runtime.abstract.week import slot_in_words
from device_runtime.abstract.words import ItemWords
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import RequestContext
from shared.abstract_form import AbstractForm
from shared.interactions import Catalogue
from tests.support.pasts import past
from tests.support.tiers import examples

KINDS = ("crime", "drama", "war", "comedy", "horror", "noir")
Event = tuple[int, float]

hours = st.one_of(st.integers(0, 167).map(float), st.floats(-400, 400), st.just(math.nan))
histories = st.lists(st.tuples(st.integers(0, 7), hours), max_size=60)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """Eight items of few names, so that several share one; some have none at all."""
    titles = tuple(draw(st.sampled_from(["Heat", "Fargo", "Alien", "x1y", ""])) for _ in range(8))
    return Catalogue(
        ids=tuple(f"x{i}y" for i in range(8)),
        titles=titles,
        categories=tuple(
            tuple(draw(st.lists(st.sampled_from(KINDS), max_size=3, unique=True))) for _ in range(8)
        ),
        areas=tuple(draw(st.sampled_from(["", "Soho", "Harlem", "Astoria"])) for _ in range(8)),
        texts=titles,
    )


forms = st.builds(
    AbstractForm,
    level=st.sampled_from(["items", "coarse", "categories"]),
    context=st.booleans(),
    recent=st.integers(0, 7),
    favourites=st.integers(0, 4),
    habits=st.integers(0, 3),
    max_tokens=st.integers(20, 120),
)
contexts = st.builds(
    RequestContext,
    time=st.none() | st.just(1.2e9),
    hour_of_week=hours,
    query=st.sampled_from(["", "more like Heat", "call 555-867-5309"]),
    session_events=st.none() | st.integers(0, 70),
)


def ranked(sightings: list[tuple[object, ...]]) -> list[object]:
    """Keys by count, then latest sighting, then name, from a list of what each event showed."""
    counts = Counter(key for seen in sightings for key in seen)
    latest = {key: place for place, seen in enumerate(sightings) for key in seen}
    return sorted(counts, key=lambda key: (-counts[key], -latest[key], key))


def repeated(sightings: list[tuple[object, ...]]) -> bool:
    return max(Counter(key for seen in sightings for key in seen).values(), default=0) > 1


def from_scratch(
    words: ItemWords, form: AbstractForm, events: list[Event], context: RequestContext
) -> Sections:
    """The definition, with no regard to what it costs."""
    items = [item for item, _ in events]
    said = [words.of(item) for item in items]
    categories = [w.categories for w in said]
    counts = Counter(c for told in categories for c in told)
    order = ranked(categories)
    known = context.time is not None and math.isfinite(context.hour_of_week)
    slot = slot_in_words(context.hour_of_week) if known and form.context else ""
    at: dict[str, list[tuple[object, ...]]] = {}
    for w, (_, hour) in zip(said, events, strict=True):
        if w.name:
            at.setdefault(slot_in_words(hour), []).append((w.name,))
    usual = {
        s: tuple(ranked(names)[: form.habits])
        for s, names in at.items()
        if repeated(names) and form.habits
    }
    busiest = ranked(
        [(slot_in_words(h),) for w, (_, h) in zip(said, events, strict=True) if w.name]
    )
    latest = items[len(items) - min(form.recent, len(items)) :]
    session = min(context.session_events or 0, len(latest))
    often = Counter(items)
    return Sections(
        categories=(
            *order[:2],
            *(c for c in order[2:4] if counts[c] * 20 >= len(events)),
        ),
        areas=tuple(ranked([(w.area,) if w.area else () for w in said])[:2]),
        favourites=tuple(item for item in ranked([(i,) for i in items]) if often[item] > 1)[
            : form.favourites
        ],
        usual=usual.get(slot, ()),
        before=tuple(latest[: len(latest) - session]),
        session=tuple(latest[len(latest) - session :]),
        slot=slot,
        query=words.query(context.query, form.query_chars, items),
        usual_times=()
        if form.context or not known
        else tuple((s, usual[s]) for s in busiest if s in usual)[:2],
    )


@settings(max_examples=examples(400), deadline=None)
@given(catalogues(), forms, histories, st.data())
def test_kept_event_by_event_it_is_what_counting_from_scratch_gives(catalogue, form, events, data):
    words = ItemWords(catalogue, form.level)
    digest = Digest(words, form)
    looked_at = data.draw(st.sets(st.integers(0, len(events)), max_size=4)) | {len(events)}
    for seen in range(len(events) + 1):
        if seen in looked_at:
            context = data.draw(contexts)
            expected = from_scratch(words, form, events[:seen], context)
            assert digest.sections(context) == expected
            assert len(digest) == seen
        if seen < len(events):
            digest.observe(*events[seen])


@settings(max_examples=examples(200), deadline=None)
@given(catalogues(), forms, histories, contexts, st.integers(0, 60))
def test_a_digest_tells_what_is_written_of_its_events(catalogue, form, events, context, first):
    writer = TemplateAbstract(catalogue, form)
    digest = writer.digest()
    for item, hour in events[:first]:
        digest.observe(item, hour)
    digest.sections(context)  # asking changes nothing
    for item, hour in events[first:]:
        digest.observe(item, hour)
    window = past([item for item, _ in events], [hour for _, hour in events])
    fresh = TemplateAbstract(catalogue, form)
    if all(float(window.hour[i]) == hour for i, (_, hour) in enumerate(events)):
        assert writer.tell(digest, context) == fresh.write(window, context)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.integers(0, 9), max_size=80), st.integers(0, 6))
def test_leaders_are_those_of_all_keys(keys, most):
    leaders = Leaders[int](most)
    for place, key in enumerate(keys):
        leaders.see(key)
        so_far = [(k,) for k in keys[: place + 1]]
        assert leaders.first == ranked(so_far)[:most]
        assert leaders.repeats == (most > 0 and repeated(so_far))
