"""Sections of an abstract as parts, and parts as weighted rows of a hashed table of words.

A *part* is a section and one thing in it: an item at its place, a category, the query. The same
part always has the same rows, so what is summed up over them can be kept from request to request.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Sections
from device_runtime.abstract.words import ItemWords

PLACES = 6  # latest items told by their place; older ones are left out
NAME, WORD, QUERY = 1.0, 0.5, 0.7  # weights of a whole name, of a word in it, of a query's word
EARLIER = 0.5  # of that, where a session has begun: what came before it
LATEST_SAID = 12  # words at a query's end that are told apart

Part = tuple[str, int | str]

_BEFORE = tuple(f"before{place}" for place in range(PLACES))
_EARLIER = tuple(f"earlier{place}" for place in range(PLACES))
_NOW = tuple(f"now{place}" for place in range(PLACES))
_WORDS = " words"  # ends the section of an item's words
# The same tokens, said more quietly.
_QUIETER = dict(zip(_EARLIER, _BEFORE, strict=True)) | {"earlier words": "before words"}
_SAID = "query"
_WORD = re.compile(r"\w+(?:'\w+)*")


class StudentFeatures:
    """What the text student reads.

    Args:
        words: of the bundle's items; nothing but what they say is read.
        rows: of the table that tokens are hashed into.
    """

    def __init__(self, words: ItemWords, rows: int) -> None:
        if rows < 1:
            raise ValueError(f"a text student needs rows to hash words into, not {rows}")
        self._words, self._rows = words, rows

    def parts(self, sections: Sections) -> list[Part]:
        """The parts of a request, what the user typed last; one that is told twice counts twice."""
        now, past = sections.session[: -PLACES - 1 : -1], sections.before[: -PLACES - 1 : -1]
        places, spoken = (_EARLIER, "earlier words") if now else (_BEFORE, "before words")
        # An item moves a place with every event; its words know no place, and stay what they were.
        found: list[Part] = [*zip(_NOW, now, strict=False), *zip(places, past, strict=False)]
        found += [("now words", item) for item in now]
        found += [(spoken, item) for item in past]
        for item in sections.favourites:
            found += [("favourite", item), ("favourite words", item)]
        found += [("usual", name) for name in sections.usual]
        found += [("category", category) for category in sections.categories]
        found += [("area", area) for area in sections.areas]
        if sections.slot:
            found.append(("slot", sections.slot))
        if sections.query:
            found.append((_SAID, sections.query))
        return found

    def tokens(self, part: Part) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows [K] and weights [K] of one part, a token each."""
        section, what = part
        if section in _QUIETER:
            rows, weights = self.tokens((_QUIETER[section], what))
            return rows, weights * np.float32(EARLIER)
        if isinstance(what, int):
            weighted = self._of_item(section, what)
        elif section == _SAID:
            weighted = [(token, QUERY) for token in _of_query(words_of(what))]
        else:
            weighted = [(f"{section}|{what}", NAME)]
        at = [zlib.crc32(token.encode(errors="replace")) % self._rows for token, _ in weighted]
        return np.array(at, dtype=np.int32), np.array([w for _, w in weighted], dtype=np.float32)

    def _of_item(self, section: str, item: int) -> list[tuple[str, float]]:
        """Its name; of a section of words, the words of all that is known of it."""
        words = self._words.of(item)
        if not section.endswith(_WORDS):
            return [(f"{section}|{words.name}", NAME)] if words.name else []
        said = words_of(" ".join((words.name, *words.categories, words.area)))
        return [(f"{section}|{word}", WORD) for word in dict.fromkeys(said)]


def uncached(part: Part) -> bool:
    """Whether a part hardly ever comes again: what a user types."""
    return part[0] == _SAID


def words_of(text: str) -> list[str]:
    """Case-folded words in their order."""
    return _WORD.findall(text.casefold())


def _of_query(said: list[str]) -> Iterable[str]:
    """Words, pairs of neighbours, and the last words once more: what was asked just now."""
    pairs = itertools.pairwise(said)
    tokens = [f"query|{word}" for word in said]
    tokens += [f"query pair|{one} {other}" for one, other in pairs]
    tokens += [f"query end|{word}" for word in said[-LATEST_SAID:]]
    return dict.fromkeys(tokens)
