"""What a device knows of its own history in the terms of the abstract, kept event by event."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from device_runtime.abstract.leaders import Leaders
from device_runtime.abstract.week import slot_in_words
from device_runtime.abstract.words import ItemWords
from device_runtime.state.history import RequestContext
from shared.abstract_form import AbstractForm

AREAS_TOLD = 2
SLOTS_TOLD = 2  # times of the week whose habits are told if the request's moment is not
_CATEGORIES, _CERTAIN = 4, 2  # told at most; told however rare they are
_RARE = 20  # the others are met at least once in so many events
_ALL_SLOTS = 14


@dataclass(frozen=True, slots=True)
class Sections:
    """What an abstract may tell at one moment, before it is cut to its length.

    Ranks are by count; among equals what was met last comes first, then the name decides.

    Attributes:
        categories: up to 4, the most frequent first.
        areas: up to 2.
        favourites: items met more than once, up to ``form.favourites``.
        usual: names usual at the request's time of the week, up to ``form.habits``; empty where
            nothing repeats there, where the moment is unknown or where ``form.context`` is off.
        before: of the latest ``form.recent`` items those from before the present session, newest
            last; where sessions are not told apart, all of them.
        session: those of the present session, newest last; empty where sessions are not told
            apart.
        slot: the request's time of the week ("weekday morning"), "" where the moment is unknown
            or ``form.context`` is off.
        query: as the abstract says it, sanitised.
        usual_times: where ``form.context`` is off, (time of the week, names usual then) of the
            up to 2 busiest times at which something repeats; else empty.
    """

    categories: tuple[str, ...]
    areas: tuple[str, ...]
    favourites: tuple[int, ...]
    usual: tuple[str, ...]
    before: tuple[int, ...]
    session: tuple[int, ...]
    slot: str
    query: str
    usual_times: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Digest:
    """Counts of one user's events; neither ``observe`` nor ``sections`` grows with the history.

    Args:
        words: of the catalogue's items, shared by the digests of a process.
        form: of the bundle.
    """

    def __init__(self, words: ItemWords, form: AbstractForm) -> None:
        self._words, self._form = words, form
        self._events = 0
        self._items = Leaders[int](form.favourites)
        self._categories = Leaders[str](_CATEGORIES)
        self._areas = Leaders[str](AREAS_TOLD)
        self._slots = Leaders[str](_ALL_SLOTS)
        self._usual: dict[str, Leaders[str]] = {}
        self._latest: deque[int] = deque(maxlen=form.recent)

    @property
    def words(self) -> ItemWords:
        """Of the catalogue's items, shared."""
        return self._words

    def anew(self) -> Digest:
        """One of no event, in the same words and form."""
        return Digest(self._words, self._form)

    def __len__(self) -> int:
        """Events observed."""
        return self._events

    def observe(self, item: int, hour_of_week: float) -> None:
        """Add the newest event.

        Args:
            item: item index.
            hour_of_week: local, Monday 00:00 = 0; taken modulo 168, 0 when not finite.
        """
        words = self._words.of(item)
        self._events += 1
        self._latest.append(item)
        self._items.see(item)
        # Backwards: what is seen later leads its equals, and here names decide.
        for category in sorted(words.categories, reverse=True):
            self._categories.see(category)
        if words.area:
            self._areas.see(words.area)
        if words.name:
            slot = slot_in_words(hour_of_week)
            self._slots.see(slot)
            if slot not in self._usual:
                self._usual[slot] = Leaders(self._form.habits)
            self._usual[slot].see(words.name)

    def sections(self, context: RequestContext) -> Sections:
        """What may be told at a request; nothing of the history but what was observed."""
        known = context.time is not None and math.isfinite(context.hour_of_week)
        slot = slot_in_words(context.hour_of_week) if known and self._form.context else ""
        latest = tuple(self._latest)
        of_session = context.session_events or 0
        begun = max(0, len(latest) - of_session)
        return Sections(
            categories=self._told_categories(),
            areas=tuple(self._areas.first),
            favourites=tuple(self._items.repeated()),
            usual=self._usual_at(slot),
            before=latest[:begun],
            session=latest[begun:],
            slot=slot,
            query=self._words.query(context.query, self._form.query_chars, self._items.counts),
            usual_times=self._usual_times() if known and not self._form.context else (),
        )

    def _told_categories(self) -> tuple[str, ...]:
        first, counts = self._categories.first, self._categories.counts
        some = (c for c in first[_CERTAIN:] if counts[c] * _RARE >= self._events)
        return (*first[:_CERTAIN], *some)

    def _usual_at(self, slot: str) -> tuple[str, ...]:
        names = self._usual.get(slot)
        return tuple(names.first) if names is not None and names.repeats else ()

    def _usual_times(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        usual = ((slot, self._usual_at(slot)) for slot in self._slots.first)
        return tuple((slot, names) for slot, names in usual if names)[:SLOTS_TOLD]
