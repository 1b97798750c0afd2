"""A closed vocabulary: the only words of data that leave a device at the level ``categories``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from device_runtime.abstract.folding import plain, shadow
from device_runtime.abstract.sanitise import clean_text

MAX_PHRASE_CHARS = 64
MAX_PHRASE_WORDS = 8
_WORD = re.compile(r"\w+")
# Letters, and the marks that stand in the names of genres and kinds of places. No digit.
_KIND = re.compile(r"[^\W\d_](?:[^\W\d_]|[ &'()/,.+\u2019-])*")


class Vocabulary:
    """Phrases that may be said. Whatever goes in, only members come out.

    Args:
        phrases: as ``speakable`` returned them.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = {_folded(phrase): phrase for phrase in phrases}
        self._longest = max(map(len, self._phrases), default=0)

    def only(self, phrases: Iterable[str]) -> tuple[str, ...]:
        """Those of ``phrases`` that are members, each once, in their order."""
        found = (self._phrases.get(_folded(phrase)) for phrase in phrases)
        return tuple(dict.fromkeys(phrase for phrase in found if phrase))

    def said_in(self, text: str, max_chars: int) -> str:
        """The members that a free text names, whole ones, each once, of at most ``max_chars``."""
        words, found, first = _folded(text), dict[str, None](), 0
        while first < len(words):
            for last in range(min(first + self._longest, len(words)), first, -1):
                if (phrase := self._phrases.get(words[first:last])) is not None:
                    found[phrase] = None
                    first = last - 1
                    break
            first += 1
        told = ""
        for phrase in found:
            longer = f"{told}, {phrase}" if told else phrase
            told = longer if len(longer) <= max_chars else told
        return told


def spoken(category: str) -> str:
    """A category as abstracts say it: lower case, hyphens opened."""
    return category.replace("-", " ").replace("_", " ").lower()


def speakable(categories: Iterable[str], forbidden: Collection[str] = ()) -> tuple[str, ...]:
    """The phrases of ``categories`` that a vocabulary may hold, sorted.

    Args:
        categories: as the catalogue has them; untrusted.
        forbidden: item ids, see ``sanitise.identifiers``.

    Returns:
        spoken forms of those of letters alone, in which no detector finds anything.
    """
    kinds = {plain(category).strip() for category in categories}
    kinds = {kind for kind in kinds if clean_text(kind, forbidden=forbidden) == kind}
    phrases = {spoken(kind) for kind in kinds}
    return tuple(sorted(phrase for phrase in phrases if _may_be_said(phrase, forbidden)))


def _may_be_said(phrase: str, forbidden: Collection[str]) -> bool:
    return (
        _KIND.fullmatch(phrase) is not None
        and len(phrase) <= MAX_PHRASE_CHARS
        and len(_WORD.findall(phrase)) <= MAX_PHRASE_WORDS
        and clean_text(phrase, forbidden=forbidden) == phrase
    )


def _folded(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(shadow(plain(text)).text.casefold()))
