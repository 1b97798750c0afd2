"""The one place that decides which words may leave the device.

Titles, categories and queries come from outside and may hold anything. Removed are: web and mail
addresses, @handles, phone numbers, coordinates, dates, clock times and epoch stamps, network
addresses, long digit runs, opaque tokens that look like identifiers, and the catalogue's own item
ids. A release year in parentheses, as in "Heat (1995)", may stay; so may small numbers ("12
Monkeys"), unless they are the id of the very item they describe.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

MAX_INPUT_CHARS = 2_000
MAX_ID_WORDS = 8
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR_IN_PARENTHESES = re.compile(r"(\((?:18|19|20)\d\d\))", re.ASCII)
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",  # UUID
        r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|info|io|co|me|ly|app|dev)\b(?:/\S*)?",
        r"\d{1,3}(?:\.\d{1,3}){3}",  # network address
        # ISO 8601 and its relatives; then day-month-year; then a day beside a month's name.
        r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:T?[\d:.]*Z?)",
        r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}",
        rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}\b\.?(?:,?\s+\d{{4}})?",
        rf"\b{_MONTH}\.?\s+{_DAY}\b(?:,?\s+\d{{4}})?",
        r"\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:\s*[ap]\.?m\b\.?)?",  # clock time
        r"\b\d{1,2}\s*[ap]\.?m\b\.?",
        r"\b\d{1,2}h\d{2}\b",
        # Coordinates: named, many decimals, degrees and minutes, with a quarter of the sky, or a
        # pair of decimals.
        r"\b(?:lat|lon|lng|latitude|longitude)\b[\s:=]{0,3}[-+]?\d+(?:[.,]\d+)?",
        r"[-+]?\d+\.\d{3,}",
        r"[-+]?\d{1,3},\d{4,}",
        r"[-+]?\d+(?:\.\d+)?\s*°(?:\s*\d+(?:\.\d+)?\s*['′]{1,2}|\s*\d+(?:\.\d+)?\s*\"){0,2}"
        r"(?:\s*[nsew]\b)?",
        r"[-+]?\b\d{1,3}[.,]\d{2,}\s?[nsew]\b",
        r"[-+]?\b\d{1,3},\d{2,}\s*[;/ ]\s*[-+]?\d{1,3},\d{2,}",
        r"[-+]?\d{1,3}\.\d+\s*[,;/ ]\s*[-+]?\d{1,3}\.\d+",
        r"(?<!\w)\+?\d(?:[\s().\-/]{0,3}\d){6,}",  # phone number: seven digits or more
        r"\w*\d{5,}\w*",  # epoch stamp, postal code, numeric id
        # Opaque: letters and digits alternating at least twice, as in 4b5c6d7e or B0000C2XYZ.
        r"\b(?=\w{7,}\b)(?:[a-z_]+\d+[a-z_]+\d\w*|\d+[a-z_]+\d+\w*|[a-z_]+\d{2,}[a-z_]+)\b",
        r"\(\s*\)|\[\s*\]|\{\s*\}",
    )
)
_DEGREE_SIGNS = str.maketrans("º˚", "°°")  # look-alikes that normalisation would turn into letters
_WORD = re.compile(r"\w+")
_AROUND_A_WORD = ".,;:!?()[]{}\"'"
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
    text = _plain(text[:MAX_INPUT_CHARS])
    while True:
        cleaned = _shorten(_clean_once(text, forbidden), max_chars)
        # What a removal brought together may form a new pattern; every round makes it shorter.
        if cleaned == text:
            return cleaned
        text = cleaned


def newest(text: str, limit: int) -> str:
    """The end of ``text``, whole words of at most ``limit`` characters."""
    if len(text) <= limit:
        return text
    return text[-limit - 1 :].partition(" ")[2]


def remove_phrase(text: str, phrase: str) -> str:
    """``text`` without ``phrase`` where it stands alone, whatever the case (an item's own id)."""
    phrase = _plain(phrase).strip()
    if not phrase:
        return text
    alone = re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE)
    while (shorter := _tidy(alone.sub(" ", text))) != text:
        text = shorter
    return text


def identifiers(ids: Iterable[str]) -> frozenset[str]:
    """Case-folded words and phrases that are item ids and therefore never leave the device.

    Numbers of up to four digits and words of up to two letters are left out: in a title they are
    far more often a year or an article than a reference to another item (``remove_phrase`` handles
    an item's own).
    """
    folded = (" ".join(_plain(i).split()).strip(_AROUND_A_WORD).casefold() for i in ids)
    return frozenset(i for i in folded if len(i) > (4 if i.isdigit() else 2))


def _plain(text: str) -> str:
    """Compatibility characters folded (full-width digits become digits), controls dropped."""
    text = unicodedata.normalize("NFKC", text.translate(_DEGREE_SIGNS))
    kept = [
        " " if c.isspace() else "" if unicodedata.category(c)[0] == "C" else _digit(c) for c in text
    ]
    return "".join(kept)


def _digit(character: str) -> str:
    """Digits of every script as 0-9, so that one set of patterns covers them."""
    if character.isascii() or not character.isdecimal():
        return character
    return str(unicodedata.decimal(character))


def _clean_once(text: str, forbidden: Collection[str]) -> str:
    text = " ".join(w for w in text.split() if not _is_address(w) and not _is_id(w, forbidden))
    if forbidden:
        text = _without_ids(text, forbidden)
    # Years are set aside, so that "1984 (1984)" does not read as a phone number.
    parts = _YEAR_IN_PARENTHESES.split(text)
    for i in range(0, len(parts), 2):
        for pattern in _PATTERNS:
            parts[i] = pattern.sub(" ", parts[i])
    return _tidy("".join(parts))


def _is_address(word: str) -> bool:
    return "@" in word or "://" in word or word.lower().startswith("www.")


def _is_id(word: str, forbidden: Collection[str]) -> bool:
    """Ids that begin or end with punctuation, such as "#12ab"."""
    return word.strip(_AROUND_A_WORD).casefold() in forbidden


def _without_ids(text: str, forbidden: Collection[str]) -> str:
    """``text`` without ids, also those of several words or joined by punctuation ("sku-77x")."""
    words = list(_WORD.finditer(text))
    kept, done, first = [], 0, 0
    while first < len(words):
        start = words[first].start()
        for last in range(min(first + MAX_ID_WORDS, len(words)) - 1, first - 1, -1):
            if text[start : words[last].end()].casefold() in forbidden:
                kept.append(text[done:start])
                done, first = words[last].end(), last
                break
        first += 1
    return " ".join([*kept, text[done:]])


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip(_EDGES)


def _shorten(text: str, max_chars: int) -> str:
    if len(text) <= max_chars:
        return text
    cut = text[: max_chars + 1].rfind(" ")
    return text[: cut if cut > 0 else max_chars].strip(_EDGES)
