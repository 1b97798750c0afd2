"""The one place that decides which words may leave the device.

Titles, categories and queries come from outside and may hold anything. What is recognised as a web
or mail address, a user's name, a machine's address, a path, a phone, card, account or paper's
number, a place on the map, a date, a time of day or an opaque token is cut out, whatever digits,
dashes and dots it is written with; so are the catalogue's own item ids. These are detectors: what
they do not recognise they let pass, docs/privacy.md says how much. A release year in parentheses,
as in "Heat (1995)", may stay; so may small numbers ("12 Monkeys"), unless they are the id of the
very item they describe.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from device_runtime.abstract.addresses import MAIL, OTHER_ADDRESSES
from device_runtime.abstract.detector import Kind
from device_runtime.abstract.folding import plain, shadow
from device_runtime.abstract.moments import MOMENTS
from device_runtime.abstract.numbers import NUMBERS
from device_runtime.abstract.places import PLACES

MAX_INPUT_CHARS = 2_000
MAX_ID_WORDS = 8
_MAX_ROUNDS = 40  # of removals that bring together something new to remove
_OTHERS = (*OTHER_ADDRESSES, *MOMENTS, *PLACES, *NUMBERS)
_YEAR_IN_PARENTHESES = re.compile(r"\((?:18|19|20)\d\d\)", re.ASCII)
_SET_ASIDE = "\x00" * 6  # as long as a year in parentheses; no detector looks across it
_EMPTY = re.compile(r"[(\[{][\s()\[\]{}]*[)\]}]")
_DIGIT = re.compile(r"\d", re.ASCII)
_WORD = re.compile(r"\w+")
_AROUND = re.compile(r"^\W+|\W+$")
_EDGES = " \t,;:-/|"


def clean_text(text: str, *, forbidden: Collection[str] = (), max_chars: int = 120) -> str:
    """``text`` without anything that identifies a person, a place on the map, a moment or an item.

    Args:
        text: untrusted; only its first MAX_INPUT_CHARS characters are read.
        forbidden: case-folded words and phrases of up to MAX_ID_WORDS words (see ``identifiers``)
            to drop wherever they stand alone.
        max_chars: longest result; cut at a word's end.

    Returns:
        one line of plain text, maybe empty. Cleaning it again changes nothing.
    """
    text = plain(text[:MAX_INPUT_CHARS])
    for _ in range(_MAX_ROUNDS):
        cleaned = _shorten(_clean_once(text, forbidden), max_chars)
        # What a removal brought together may form a new pattern; every round makes it shorter.
        if cleaned == text:
            return cleaned
        text = cleaned
    return ""  # nobody writes such a text but to get something past the detectors


def findings(text: str) -> list[tuple[Kind, str]]:
    """(kind, words) of everything a detector sees in ``text`` as it stands, overlaps included."""
    text = plain(text[:MAX_INPUT_CHARS])
    return [(kind, text[start:end]) for kind, start, end in _found(text)]


def newest(text: str, limit: int) -> str:
    """The end of ``text``, whole words of at most ``limit`` characters."""
    if len(text) <= limit:
        return text
    return text[-limit - 1 :].partition(" ")[2]


def remove_phrase(text: str, phrase: str) -> str:
    """``text`` without ``phrase`` where it stands alone, whatever the case (an item's own id)."""
    phrase = plain(phrase).strip()
    if not phrase:
        return text
    alone = re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE)
    while (shorter := _tidy(alone.sub(" ", text))) != text:
        text = shorter
    return text


def identifiers(ids: Iterable[str]) -> frozenset[str]:
    """Case-folded words and phrases that are ids, to be cut wherever they stand alone.

    Numbers of up to four digits and words of up to two letters are left out: in a title they are
    far more often a year or an article than a reference to another item (``remove_phrase`` handles
    an item's own). Punctuation around an id is no part of it: "/m/02x" is found in "m/02x".
    """
    folded = (_AROUND.sub("", shadow(" ".join(plain(i).split())).text).casefold() for i in ids)
    return frozenset(i for i in folded if len(i) > (4 if i.isdigit() else 2))


def without_identifiers(text: str, forbidden: Collection[str]) -> str:
    """``text`` without the words and phrases of ``identifiers``; as it was if it has none."""
    line = " ".join(plain(text).split())
    shorter = _without_ids(line, forbidden)
    return text if shorter == line else _tidy(_EMPTY.sub(" ", shorter))


def _clean_once(text: str, forbidden: Collection[str]) -> str:
    if forbidden:
        text = " ".join(word for word in text.split() if not _is_id(word, forbidden))
        text = _without_ids(text, forbidden)
    cuts = sorted((start, end) for _, start, end in _found(text))
    kept, done = [], 0
    for start, end in cuts:
        if end > done:
            kept.append(text[done : max(start, done)])
            done = end
    return _tidy(_EMPTY.sub(" ", " ".join([*kept, text[done:]])))


def _found(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Kind and place in ``text`` of what may not leave."""
    seen = shadow(text)
    # Years are set aside, so that "1984 (1984)" does not read as a phone number.
    searched = _YEAR_IN_PARENTHESES.sub(_SET_ASIDE, seen.text)
    lowered, digits = searched.lower(), len(_DIGIT.findall(searched))
    for detectors in (MAIL, _OTHERS):
        found = False
        for detector in detectors:
            if detector.may_match(lowered, digits):
                for start, end in detector.spans(searched):
                    found = True
                    yield (detector.kind, *seen.span(start, end))
        if found:
            return  # "@1234" goes first: its digits are no part of a number beside it


def _is_id(word: str, forbidden: Collection[str]) -> bool:
    """Ids that begin or end with punctuation, such as "#12ab"."""
    return _AROUND.sub("", shadow(word).text).casefold() in forbidden


def _without_ids(text: str, forbidden: Collection[str]) -> str:
    """``text`` without ids, also those of several words or joined by punctuation ("sku-77x")."""
    seen = shadow(text)
    words = list(_WORD.finditer(seen.text))
    kept, done, first = [], 0, 0
    while first < len(words):
        start = words[first].start()
        for last in range(min(first + MAX_ID_WORDS, len(words)) - 1, first - 1, -1):
            if seen.text[start : words[last].end()].casefold() in forbidden:
                cut_from, cut_to = seen.span(start, words[last].end())
                kept.append(text[done:cut_from])
                done, first = cut_to, last
                break
        first += 1
    return " ".join([*kept, text[done:]]) if kept else text


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip(_EDGES)


def _shorten(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    cut = text[: max_chars + 1].rfind(" ")
    return text[: cut if cut > 0 else max_chars].strip(_EDGES)
