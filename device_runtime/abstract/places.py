"""Detectors of places on the map: coordinates however they are written, and codes of places."""

from __future__ import annotations

import re
from itertools import pairwise

from device_runtime.abstract.detector import detector

_SIGN = r"(?:[-+]{1,2}(?=\d)|\b(?:minus|negative|moins|menos|meno)\s)?"
_POINT = r"(?:\s?[.,]\s?|\s(?:point|punto|comma|virgule|komma|virgola)\s)"
_VALUE = rf"\d{{1,3}}(?:{_POINT}\d{{1,12}})?"
_QUARTER_WORDS = r"(?:north|south|east|west|nord|sud|sued|ost|est|ouest|norte|sur|este|oeste|ovest)"
_QUARTER = rf"(?:{_QUARTER_WORDS}|[nsewo])\b"
_UNIT = r"(?:\s?(?:\u00b0|deg(?:rees?)?\b|grad\b|grados?\b|degres?\b|gradi\b))"
_ENDED = rf"(?:{_UNIT}?\s?{_QUARTER}|{_UNIT}|(?!\w))"
_NUMBER = re.compile(
    r"(?P<sign>[-+]|minus|negative|moins|menos|meno)?\s?(?P<whole>\d+)"
    rf"(?:{_POINT}(?P<part>\d+))?",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"\d+")
_NAMED = re.compile(rf"\b{_QUARTER_WORDS}\b", re.IGNORECASE)
_NORTH = re.compile(r"[\d\u00b0'\"]\s?[NS]\b|\b[NS]\s?[-+]?\d")
_EAST = re.compile(r"[\d\u00b0'\"]\s?[EWO]\b|\b[EWO]\s?[-+]?\d")
_MONEY = re.compile(
    r"[$*]\s?\d|\b(?:usd|eur|euros?|dollars?|stars?|points?|out of)\b|%", re.IGNORECASE
)
_MEASURE = re.compile(
    r"\s?-?(?:fl|oz|ounces?|ml|[gl]|kg|mg|inch(?:es)?|in|cm|mm|lbs?|ct|count|pack|stars?|st|nd|rd"
    r"|th|x|k|hours?|hrs?|min(?:utes)?)\b|[%\"]|\s?\d",
    re.IGNORECASE,
)
_MAP_WORDS = (
    r"(?:lat|lon|lng|latitude|longitude|latitud|longitud|breite|laenge|breitengrad|langengrad"
    r"|coords?|coordinates?|gps|koordinaten|coordenadas|coordonnees|waypoint|utm|mgrs|geo(?:hash)?)"
)
_INWARD = r"\d(?!st|nd|rd|th|hd|gb|tb)[abd-hjlnp-uw-z]{2}"  # of a British postcode
_PLUS_CODE = "[23456789cfghjmpqrvwx]"


def _is_pair(match: re.Match[str]) -> bool:
    """Whether two numbers are degrees: in range, and signed, fractional or with quarters."""
    one, two = _NUMBER.search(match["one"]), _NUMBER.search(match["two"])
    if one is None or two is None or _MONEY.search(match[0]):
        return False
    listed = [int(number) for number in _WHOLE.findall(match[0])]
    if len(listed) > 2 and all(after - one == 1 for one, after in pairwise(listed)):
        return False  # "Volumes 1, 2, 3, 4"
    less, more = sorted((int(one["whole"]), int(two["whole"])))
    if less > 90 or more > 180 or _MEASURE.match(match.string, match.end()):
        return False
    said, between = match[0], match["between"]
    if (_NORTH.search(said) and _EAST.search(said)) or len(set(_NAMED.findall(said))) > 1:
        return True
    only_marks = re.search(r"\w", between) is None
    signed = any(number["sign"] not in (None, "+") for number in (one, two))
    parts = sorted((len(one["part"] or ""), len(two["part"] or "")))
    if parts[0] >= 1 and (signed or (only_marks and between.strip())):
        return True
    if parts[0] >= 2 and more >= 10:
        return True
    # Whole degrees: "40, -73". "Seasons 4 -5" has single digits, "10 - 20" no sign of its own.
    if two["sign"] not in (None, "+"):
        return only_marks and more >= 10
    return signed and only_marks and more >= 100  # "-33, 151"


def _has_digit(match: re.Match[str]) -> bool:
    return any(c.isdigit() for c in match[0])


def _is_told(match: re.Match[str]) -> bool:
    """A number beside a word of maps; of words with other meanings only a pair or a fraction."""
    numbers = re.findall(r"\d+", match["cut"])
    return len(numbers) > 1 or match[0].lower().startswith(("lat", "lon", "lng", "breite", "laen"))


def _is_lower(match: re.Match[str]) -> bool:
    return match[0] == match[0].lower()


PLACES = (
    # Named, many decimals, degrees and minutes, with a quarter of the sky, or a pair of decimals.
    detector(
        "place", r"\b(?:lat|lon|lng|latitude|longitude)\b[\s:=]{0,3}[-+]?\d+(?:[.,]\d+)?",
        needs=("lat", "lon", "lng"), digits=1,
    ),
    detector("place", r"[-+]?\d+\.\d{3,}", needs=(".",), digits=4),
    detector("place", r"[-+]?\d{1,3},\d{4,}", needs=(",",), digits=5),
    detector(
        "place",
        r"(?:\b[nsewo]\s?)?[-+]?\d+(?:\.\d+)?\s*\u00b0"
        r"(?:\s*\d+(?:\.\d+)?\s*['\u2032]{1,2}|\s*\d+(?:\.\d+)?\s*\"){0,2}(?:\s*[nsew]\b)?",
        needs=("\u00b0",), digits=1,
    ),
    detector("place", r"[-+]?\b\d{1,3}[.,]\d{2,}\s?[nsew]\b", digits=3),
    detector("place", r"[-+]?\b\d{1,3},\d{2,}\s*[;/ ]\s*[-+]?\d{1,3},\d{2,}",
             needs=(",",), digits=6),
    detector("place", r"[-+]?\d{1,3}\.\d+\s*[,;/ ]\s*[-+]?\d{1,3}\.\d+", needs=(".",), digits=4),
    # A pair across any punctuation or a few words, with quarters of the sky before or after.
    detector(
        "place",
        rf"(?<![\w.])(?P<one>(?:\b[nsewo]\s?)?{_SIGN}{_VALUE}{_ENDED})"
        r"(?P<between>\W{1,8}?|\W[^\d]{0,23}?)"
        rf"(?P<two>(?:\b(?:[nsewo]|east|west|north|south)\s?)?{_SIGN}{_VALUE}{_ENDED})",
        _is_pair,
    ),
    detector(
        "place",
        r"\b[NS]\s?\d{1,2}(?:[.,\s]\s?\d{1,6}){0,3}['\"]{0,2}[\s,;/-]{0,4}"
        r"[EWO]\s?\d{1,3}(?:[.,\s]\s?\d{1,6}){0,3}",
        cased=True,
    ),
    detector("place", rf"\d{{1,3}}[.,]\d+\s?(?:degrees?\s)?{_QUARTER_WORDS}\b"),
    detector(
        "place",
        rf"\d{{1,3}}(?:[.,]\d+)?{_UNIT}\s?(?:{_QUARTER})?[^\d]{{1,12}}\d{{1,3}}(?:[.,]\d+)?{_UNIT}",
        needs=("\u00b0", "deg", "grad"),
    ),
    detector(
        "place",
        r"\b\d{1,3}[\s:*.'-]{1,2}\d{1,2}[\s:*.'-]{1,2}\d{1,2}(?:[.,]\d+)?['\"]{0,2}\s?[NSEW]\b"
        r"|\b\d{1,3}[\s:*'-]{1,2}\d{1,2}[.,]\d+'?\s?[NSEW]\b",
        cased=True, digits=3,
    ),
    detector(
        "place", r"\d{1,3}(?:[.,]\d+)?\s?(?:latitude|longitude)\b",
        needs=("itude",), digits=1,
    ),
    # Said to be one.
    detector(
        "place",
        rf"\b{_MAP_WORDS}\b(?:\s(?:is|are|at))?[\s\W_]{{0,4}}(?P<cut>{_SIGN}\d{{1,3}}(?:[.,]\d+)?"
        rf"(?:[\s\W_]{{1,4}}{_SIGN}\d{{1,3}}(?:[.,]\d+)?)?)",
        _is_told,
        needs=("lat", "lon", "lng", "breite", "lae", "lange", "coo", "koo", "gps", "way", "utm",
               "mgrs", "geo"), digits=1,
    ),
    # Codes: plus codes, three words, geohashes, military grids, postcodes.
    detector("place", rf"(?<!\w)(?:{_PLUS_CODE}{{2}}){{2,4}}\s?\+\s?{_PLUS_CODE}{{2,3}}(?!\w)",
             _has_digit, needs=("+",), digits=1),
    detector("place", r"///\s?(?:\S+\.\S+|\S+(?:\s\S+){0,2})", needs=("///",)),
    detector("place", r"\b(?:what3words|w3w)\b\W{0,4}\S+", needs=("what3words", "w3w")),
    detector(
        "place",
        r"(?<![\w./])[^\W\d_A-Z]{3,24}\.[^\W\d_A-Z]{3,24}\.[^\W\d_A-Z]{3,24}(?![\w./])",
        _is_lower, needs=(".",), cased=True, letters=True,
    ),
    detector("place", r"\b(?:geohash|maidenhead|grid|locator|plus\scode)\b\W{0,3}"
             r"(?P<cut>(?=\w*\d)\w{4,12})", digits=1),
    detector("place", r"(?<!\w)\d{1,2}[C-X]\s?[A-Z]{2}\s?\d{2,5}\s?\d{2,5}(?!\w)",
             cased=True, digits=5),
    detector(
        "place",
        rf"(?<!\w)(?:[a-z]{{1,2}}\d[a-z\d]?\s{_INWARD}|[a-z]\d[a-z]\s\d[a-z]\d)(?!\w)", digits=2,
    ),
    detector(
        "place",
        r"\b(?:zip|plz|postcode|postal\scode|post\scode|code\spostal)\b\W{0,3}"
        r"(?P<cut>(?:[a-z]{1,2}[- ])?\d{4,6}(?:-\d{4}|\s?[a-z]{2}\b)?)",
        digits=4,
    ),
)  # fmt: skip
