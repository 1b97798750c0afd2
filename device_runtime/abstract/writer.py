"""The device-to-cloud abstract (SCaLRec eqs. 2 and 5): a history summarised in words.

Nothing of a history but the string written here leaves the device (and item tokens, where a
bundle asks for them). The template itself has no item id, user id, exact time or coordinate. Words
that come from data pass ``sanitise``, which removes what it recognises; at the level ``categories``
they are members of a closed vocabulary, and nothing else can be among them.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol

from device_runtime.abstract.words import ItemWords
from device_runtime.state.history import HOURS_PER_WEEK, RequestContext, Window
from shared.abstract_form import AbstractForm
from shared.interactions import Catalogue

_PIECE = re.compile(r"\w+|[^\w\s]")
_CHARS_PER_TOKEN = 6  # of a long word; a plain estimate, the text model's tokenizer is not here
REMEMBERED = 4096  # latest events that are summed up: what writing costs has a bound
_SLOTS_TOLD = 2  # times of the week whose habits are told if the request's moment is not
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY_PARTS = (  # first hour of each part of the day
    (0, "night"),
    (5, "early morning"),
    (8, "morning"),
    (11, "midday"),
    (14, "afternoon"),
    (17, "evening"),
    (21, "late evening"),
)
_WEEKEND = 5  # first day of it


class AbstractWriter(Protocol):
    """Writes what the device tells the cloud."""

    def write(self, past: Window, context: RequestContext) -> str:
        """Summarise ``past`` (all events that are retained) at the request's moment.

        What it costs must not grow with a long history.
        """
        ...


class TemplateAbstract:
    """Deterministic sentences: long-term profile, returns, habits, last events, moment, query.

    One writer serves all devices of a process; it remembers the sanitised words of items it met.

    Args:
        catalogue: of the bundle.
        form: of the bundle: what is told, and how much.
    """

    def __init__(self, catalogue: Catalogue, form: AbstractForm | None = None) -> None:
        self._form = form or AbstractForm()
        self._words = ItemWords(catalogue, self._form.level)

    def write(self, past: Window, context: RequestContext) -> str:
        """One line of about ``max_tokens`` tokens and the query, never empty.

        Args:
            past: events, oldest first; may be empty. The latest REMEMBERED of them are read.
            context: the request; its time is only used as weekday and part of the day.
        """
        past = past.latest(REMEMBERED)
        items = past.items.tolist()
        sentences = [*self._profile(items), *self._habits(items, past, context)]
        ending = self._moment(context)
        budget = self._form.max_tokens - tokens(" ".join([*sentences, *ending]))
        recent = self._recent(items, context, budget)
        query = self._words.query(context.query, self._form.query_chars, items)
        said = [*sentences, *recent, *ending, *([f"Asks: {query}"] if query else [])]
        # Items may have no words but their ids, and those stay here.
        return " ".join(said or ["Nothing to tell."])

    def _profile(self, items: list[int]) -> list[str]:
        if not items:
            return ["No history yet."]
        counts = Counter(items)
        categories: Counter[str] = Counter()
        areas: Counter[str] = Counter()
        for item, count in counts.items():
            words = self._words.of(item)
            for category in words.categories:
                categories[category] += count
            if words.area:
                areas[words.area] += count
        sentences = []
        if categories:
            ranked = _ranked(categories)
            some = [c for c in ranked[2:4] if categories[c] * 20 >= len(items)]
            tail = f", some {_listed(some)}" if some else ""
            sentences.append(f"Mostly {_listed(ranked[:2])}{tail}.")
        if areas:
            sentences.append(f"Around {_listed(_ranked(areas)[:2])}.")
        latest = {item: place for place, item in enumerate(items)}
        returned = sorted(
            (item for item, count in counts.items() if count > 1),
            key=lambda item: (-counts[item], -latest[item]),
        )
        names = _distinct(self._name(item) for item in returned[: self._form.favourites])
        if names:
            sentences.append(f"Often returns to {', '.join(names)}.")
        return sentences

    def _habits(self, items: list[int], past: Window, context: RequestContext) -> list[str]:
        """What is usual at the request's time of the week; without it, at the usual times."""
        if not items or not _told(context):
            return []
        at: defaultdict[str, Counter[str]] = defaultdict(Counter)
        hours = (past.hour % HOURS_PER_WEEK).astype(int).tolist()
        slot_of = {hour: slot_in_words(hour) for hour in set(hours)}
        names = {item: self._name(item) for item in set(items)}
        told = Counter(
            (slot_of[hour], names[item]) for item, hour in zip(items, hours, strict=True)
        )
        for (slot, name), count in told.items():
            if name:
                at[slot][name] += count
        if self._form.context:
            slots = [slot_in_words(context.hour_of_week)]
        else:
            slots = _ranked(Counter({slot: names.total() for slot, names in at.items()}))
        return [
            f"On {slot}s: {', '.join(_ranked(at[slot])[: self._form.habits])}."
            for slot in slots[:_SLOTS_TOLD]
            if slot in at and self._form.habits
        ]

    def _recent(self, items: list[int], context: RequestContext, budget: int) -> list[str]:
        """The latest events that fit, those of the present session apart where it is known."""
        if context.session_events is not None:
            session = items[max(0, len(items) - context.session_events) :]
            now = self._latest(session, self._form.recent, budget)
            room = budget - tokens(" ".join(now)) - 2
            earlier = items[: len(items) - len(session)]
            before = self._latest(earlier, self._form.recent - len(now), room)
            return [
                f"{said}: {', '.join(names)}."
                for said, names in (("Before", before), ("In this session", now))
                if names
            ]
        names = self._latest(items, self._form.recent, budget)
        return [f"Recently: {', '.join(names)}."] if names else []

    def _latest(self, items: list[int], most: int, budget: int) -> list[str]:
        """Names of the newest items that fit into ``budget`` tokens, said oldest first."""
        names: list[str] = []
        budget -= 3
        for item in items[: -most - 1 : -1] if most > 0 else []:
            name = self._name(item)
            budget -= tokens(name) + 1
            if budget < 0 and names:
                break
            if name and (not names or names[-1] != name):
                names.append(name)
        return names[::-1]

    def _moment(self, context: RequestContext) -> list[str]:
        if not self._form.context or not _told(context):
            return []
        return [f"It is {moment_in_words(context.hour_of_week)}."]

    def _name(self, item: int) -> str:
        return self._words.of(item).name


def tokens(text: str) -> int:
    """Estimated subword tokens of ``text``."""
    return sum(1 + (len(piece) - 1) // _CHARS_PER_TOKEN for piece in _PIECE.findall(text))


def _told(context: RequestContext) -> bool:
    """Whether the request has a moment."""
    return context.time is not None and math.isfinite(context.hour_of_week)


def _ranked(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))


def _distinct(names: Iterable[str]) -> list[str]:
    return [n for n in dict.fromkeys(names) if n]


def _listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def moment_in_words(hour_of_week: float) -> str:
    """ "Friday evening" from a local hour of week (Monday 00:00 = 0)."""
    day, hour = _day_and_hour(hour_of_week)
    return f"{WEEKDAYS[day]} {_day_part(hour)}"


def slot_in_words(hour_of_week: float) -> str:
    """ "weekday morning" or "weekend evening": the unit habits are told in."""
    day, hour = _day_and_hour(hour_of_week)
    return f"{'weekend' if day >= _WEEKEND else 'weekday'} {_day_part(hour)}"


def _day_and_hour(hour_of_week: float) -> tuple[int, int]:
    return divmod(int(hour_of_week % (24 * len(WEEKDAYS))), 24)


def _day_part(hour: int) -> str:
    return next(name for first, name in reversed(DAY_PARTS) if hour >= first)
