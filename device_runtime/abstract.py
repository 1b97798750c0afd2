"""The device-to-cloud abstract (SCaLRec eqs. 2 and 5): a history summarised in words.

Nothing but the string written here leaves the device, and every word of it that comes from data
has passed ``sanitise``. No item id, user id, exact time or coordinate is in it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device_runtime.history import RequestContext
from device_runtime.sanitise import clean_text, identifiers, remove_phrase
from shared.interactions import Catalogue

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
_PIECE = re.compile(r"\w+|[^\w\s]")
_CHARS_PER_TOKEN = 6  # of a long word; a plain estimate, the text model's tokenizer is not here


class AbstractWriter(Protocol):
    """Writes what the device tells the cloud."""

    def write(self, items: NDArray[np.int32], context: RequestContext) -> str:
        """Summarise ``items`` [n] (oldest first, all that is retained) at the request's moment."""
        ...


@dataclass(frozen=True, slots=True)
class AbstractShape:
    """How much an abstract says.

    Attributes:
        max_tokens: rough limit for everything but the query; recent titles fill what is left.
        recent: most recent events named, at most.
        favourites: items named as returned to, at most.
        name_chars: longest title, category or area.
        query_chars: longest query passed on.
    """

    max_tokens: int = 80
    recent: int = 6
    favourites: int = 3
    name_chars: int = 64
    query_chars: int = 300


@dataclass(frozen=True, slots=True)
class _Words:
    """Sanitised words of one item."""

    title: str
    categories: tuple[str, ...]
    area: str


class TemplateAbstract:
    """Deterministic sentences: long-term profile, returns, last events, moment, query.

    One writer serves all devices of a process; it remembers the sanitised words of items it met.
    """

    def __init__(self, catalogue: Catalogue, shape: AbstractShape | None = None) -> None:
        self._catalogue = catalogue
        self._shape = shape or AbstractShape()
        self._ids = identifiers(catalogue.ids)
        self._words: dict[int, _Words] = {}

    def write(self, items: NDArray[np.int32], context: RequestContext) -> str:
        """One line of about ``max_tokens`` tokens, never empty.

        Args:
            items: [n] int32 item indices, oldest first; may be empty.
            context: the request; its time is only used as weekday and part of the day.
        """
        history = items.tolist()
        ending = self._ending(context)
        sentences = self._profile(history)
        budget = self._shape.max_tokens - tokens(" ".join([*sentences, *ending]))
        recent = self._recent(history, budget)
        said = [*sentences, *recent, *ending]
        # Items may have no words but their ids, and those stay here.
        return " ".join(said or ["Nothing to tell."])

    def _profile(self, history: list[int]) -> list[str]:
        if not history:
            return ["No history yet."]
        counts = Counter(history)
        categories: Counter[str] = Counter()
        areas: Counter[str] = Counter()
        for item, count in counts.items():
            words = self._of(item)
            for category in words.categories:
                categories[category] += count
            if words.area:
                areas[words.area] += count
        sentences = []
        if categories:
            ranked = _ranked(categories)
            some = [c for c in ranked[2:4] if categories[c] * 20 >= len(history)]
            tail = f", some {_listed(some)}" if some else ""
            sentences.append(f"Mostly {_listed(ranked[:2])}{tail}.")
        if areas:
            sentences.append(f"Around {_listed(_ranked(areas)[:2])}.")
        latest = {item: place for place, item in enumerate(history)}
        returned = sorted(
            (item for item, count in counts.items() if count > 1),
            key=lambda item: (-counts[item], -latest[item]),
        )
        titles = _distinct(self._name(item) for item in returned[: self._shape.favourites])
        if titles:
            sentences.append(f"Often returns to {_listed(titles)}.")
        return sentences

    def _recent(self, history: list[int], budget: int) -> list[str]:
        """The newest titles that fit, said oldest first."""
        names: list[str] = []
        budget -= 3
        for item in reversed(history[-self._shape.recent :]):
            name = self._name(item)
            budget -= tokens(name) + 1
            if budget < 0 and names:
                break
            if name and (not names or names[-1] != name):
                names.append(name)
        return [f"Recently: {', '.join(reversed(names))}."] if names else []

    def _ending(self, context: RequestContext) -> list[str]:
        sentences = []
        if context.time is not None and math.isfinite(context.hour_of_week):
            sentences.append(f"It is {moment_in_words(context.hour_of_week)}.")
        query = clean_text(context.query, forbidden=self._ids, max_chars=self._shape.query_chars)
        if query:
            sentences.append(f"Asks: {query}")
        return sentences

    def _name(self, item: int) -> str:
        """Title, else the most specific category, else nothing: never the id."""
        words = self._of(item)
        return words.title or (words.categories[-1] if words.categories else "")

    def _of(self, item: int) -> _Words:
        if item not in self._words:
            catalogue, own_id = self._catalogue, self._catalogue.ids[item]

            def cleaned(text: str) -> str:
                text = clean_text(text, forbidden=self._ids, max_chars=self._shape.name_chars)
                return remove_phrase(text, own_id)

            # Cleaned before hyphens are opened: they are part of what gives a date or an id away.
            categories = (
                cleaned(cleaned(c).replace("-", " ").replace("_", " ").lower())
                for c in catalogue.categories[item]
            )
            self._words[item] = _Words(
                title=cleaned(catalogue.titles[item]),
                categories=tuple(c for c in dict.fromkeys(categories) if c),
                area=cleaned(catalogue.areas[item]),
            )
        return self._words[item]


def moment_in_words(hour_of_week: float) -> str:
    """ "Friday evening" from a local hour of week (Monday 00:00 = 0)."""
    hour = int(hour_of_week % (24 * len(WEEKDAYS)))
    part = next(name for first, name in reversed(DAY_PARTS) if hour % 24 >= first)
    return f"{WEEKDAYS[hour // 24]} {part}"


def tokens(text: str) -> int:
    """Estimated subword tokens of ``text``."""
    return sum(1 + (len(piece) - 1) // _CHARS_PER_TOKEN for piece in _PIECE.findall(text))


def _ranked(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))


def _distinct(names: Iterable[str]) -> list[str]:
    return [n for n in dict.fromkeys(names) if n]


def _listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
