"""The sentences of an abstract, and how they are made to fit its length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

# Six letters of a long word; a plain estimate, the text model's tokenizer is not here.
_TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
_FIRST_CATEGORIES = 2  # said before "some"
_KEPT_HABITS, _KEPT_FAVOURITES = 1, 2  # names that a shorter text keeps before it tells no habit


def tokens(text: str) -> int:
    """Estimated subword tokens of ``text``; those of sentences add up."""
    return len(_TOKEN.findall(text))


@dataclass(frozen=True, slots=True)
class LongTerm:
    """What is said of a whole history, each most important first.

    Attributes:
        categories: up to 4.
        areas: in words.
        favourites: names of items returned to.
        habits: (time of the week, names usual then).
    """

    categories: tuple[str, ...]
    areas: tuple[str, ...]
    favourites: tuple[str, ...]
    habits: tuple[tuple[str, tuple[str, ...]], ...]

    def sentences(self) -> list[str]:
        """As many as there is something to say in."""
        said = []
        if self.categories:
            first, some = self.categories[:_FIRST_CATEGORIES], self.categories[_FIRST_CATEGORIES:]
            said.append(f"Mostly {_listed(first)}{f', some {_listed(some)}' if some else ''}.")
        if self.areas:
            said.append(f"Around {_listed(self.areas)}.")
        if self.favourites:
            said.append(f"Often returns to {', '.join(self.favourites)}.")
        said += [f"On {slot}s: {', '.join(names)}." for slot, names in self.habits]
        return said

    def fitted(self, room: int) -> LongTerm:
        """With fewer habits, then fewer favourites, areas and categories, until it fits.

        One habit of each time stays while there are favourites enough: it is what the moment adds.

        Args:
            room: tokens; what is said is never longer than that.
        """
        fitted, length = self, cache(tokens)  # most sentences stay from one attempt to the next
        while fitted and sum(map(length, fitted.sentences())) > room:
            fitted = fitted._shorter()
        return fitted

    def __bool__(self) -> bool:
        return bool(self.categories or self.areas or self.favourites or self.habits)

    def _shorter(self) -> LongTerm:
        """Without its least important name."""
        for place in reversed(range(len(self.habits))):
            slot, names = self.habits[place]
            if len(names) > _KEPT_HABITS:
                shorter = (slot, names[:-1])
                return replace(
                    self, habits=(*self.habits[:place], shorter, *self.habits[place + 1 :])
                )
        if self.habits and len(self.favourites) <= _KEPT_FAVOURITES:
            return replace(self, habits=self.habits[:-1])
        if self.favourites:
            return replace(self, favourites=self.favourites[:-1])
        if self.areas:
            return replace(self, areas=self.areas[:-1])
        return replace(self, categories=self.categories[:-1])


@dataclass(frozen=True, slots=True)
class Recent:
    """What is said of the latest events: (how they are called, names, oldest first) by age.

    Attributes:
        parts: oldest first.
    """

    parts: tuple[tuple[str, tuple[str, ...]], ...]

    def sentences(self) -> list[str]:
        """One for each part that has names."""
        return [f"{lead}: {', '.join(names)}." for lead, names in self.parts if names]

    def fitted(self, room: int) -> Recent:
        """The newest names that fit into ``room`` tokens, and in any case the newest."""
        parts: list[tuple[str, tuple[str, ...]]] = []
        for lead, names in reversed(self.parts):
            if not names:
                continue
            room -= tokens(lead) + 1
            kept: list[str] = []
            for name in reversed(names):
                room -= tokens(name) + 1
                if room < 0 and (parts or kept):
                    break
                kept.append(name)
            if kept:
                parts.append((lead, tuple(reversed(kept))))
            if len(kept) < len(names):
                break  # nothing older is said than what was left out
        return Recent(tuple(reversed(parts)))


def _listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
