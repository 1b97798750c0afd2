"""Detectors of numbers that belong to a person: phones, cards, accounts, papers; and of tokens."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from device_runtime.abstract.detector import detector

_GROUPS = re.compile(r"\d+")
_LIST_MARK = re.compile(r"[,;:&!?\"]\s")
_OTHER_THAN_USUAL = re.compile(r"[^\s().\-/\d+]")
_CONJUNCTION = re.compile(r"\s(?:and|und|et|y|then)\s")
_YEAR = re.compile(r"(?:18|19|20)\d\d")
_ROUND = re.compile(r"\d{1,3}(?:,\d{3})*,000")
_WORD_OR_DIGIT = re.compile(r"[a-z]+|\d", re.IGNORECASE)
_PHONE, _LISTED_PHONE = 7, 9  # digits, close together or told like a list
_SAID_CARD = 12
_LEET, _ACCOUNT = 6, 12  # digits, the rest being letters
_NUMBER_WORDS = (
    "zero oh one two three four five six seven eight nine double triple plus null eins zwei zwo "
    "drei vier funf fuenf sechs sieben acht neun un deux trois quatre cinq sept huit neuf cero uno "
    "dos tres cuatro cinco seis siete ocho nueve due tre quattro cinque sei sette otto nove"
)
_COUNTED = re.findall("[a-z]+", "one two three four five six seven eight nine ten")  # a rhyme
_NUMBER_WORD = rf"(?:{'|'.join(_NUMBER_WORDS.split())})"
_PAPERS = (
    r"(?:ssn|social\ssecurity|passport|passeport|reisepass|pasaporte|personalausweis|dni|nie|nif"
    r"|cpf|cnpj|cedula|pesel|bsn|nino|nhs|aadhaar|tax\sid|vat\sid|steuer-?id|personnummer"
    r"|codice\sfiscale|driv(?:er'?s|ing)\slicen[cs]e|licen[cs]e\splate|bank\saccount|kontonummer"
    r"|account\s(?:no|nr|number)|card\s(?:no|nr|number)|cvv|cvc|pin\s?code|member\s(?:no|nr|id)"
    r"|customer\s(?:no|nr|id)|imei|kreditkarte|carte\sbancaire)"
)
_TELLS_A_KEY = (
    r"(?:pass(?:word|wort|wd|code|phrase)|pwd|mot\sde\spasse|kennwort|contrasena"
    r"|(?:api|secret|access|wifi|wi-fi|licen[cs]e|private)[\s-]?(?:key|token))"
)
_OF_A_PERSON: Final = "number of a person"


def _belongs_to_a_person(match: re.Match[str]) -> bool:
    """Seven digits or more with anything between, unless they are a list of years or of parts."""
    said = match[0].lstrip("+(")
    groups = _GROUPS.findall(said)
    if not _OTHER_THAN_USUAL.search(said):
        return True
    if _CONJUNCTION.search(said) and sum(map(len, groups)) < _SAID_CARD:
        return False
    if _ROUND.fullmatch(said) or all(_YEAR.fullmatch(group) for group in groups):
        return False
    if len(groups) > 2 and all(int(after) - int(one) == 1 for one, after in pairwise(groups)):
        return False
    if _LIST_MARK.search(said):
        enough = sum(map(len, groups)) >= _LISTED_PHONE
        return enough and not any(_YEAR.fullmatch(group) for group in groups)
    return True


def _is_spelt_phone(match: re.Match[str]) -> bool:
    """Enough digits, of which some are words: a run of digits alone is another detector's."""
    said = [digit.lower() for digit in _WORD_OR_DIGIT.findall(match[0])]
    if any(said == _COUNTED[first : first + len(said)] for first in range(len(_COUNTED))):
        return False
    return len(said) >= _PHONE and any(digit.isalpha() for digit in said)


def _is_leet(match: re.Match[str]) -> bool:
    """Letters in the place of 0 and 1: "O2O 7946 O958", but not "123456 lol"."""
    groups = re.findall(r"\w+", match[0])
    return _digits(match) >= _LEET and not any(group.isalpha() for group in groups)


def _is_account(match: re.Match[str]) -> bool:
    letters = sum(c.isalpha() for c in match[0])
    return _digits(match) >= max(_ACCOUNT, 1.2 * letters)


def _digits(match: re.Match[str]) -> int:
    return sum(c.isdigit() for c in match[0])


NUMBERS = (
    # Phone, card, social security and account numbers: seven digits or more.
    detector(_OF_A_PERSON, r"(?<!\w)\+?\d(?:[\s().\-/]{0,3}\d){6,}", digits=_PHONE),
    detector(
        _OF_A_PERSON,
        r"(?<![^\W_])\+?\d(?:(?:[\s\W_]{0,6}|\s(?:dash|hyphen|dot|point|slash|and|und|et|y|then)\s)\d){6,}"
        r"(?:-[a-z](?!\w)|\s?(?:ext|extension)\b\.?\s?\d{1,5})?",
        _belongs_to_a_person,
        digits=_PHONE,
    ),
    detector(
        _OF_A_PERSON,
        r"(?<!\w)(?:1[-. ])?8(?:00|88|77|66|55|44|33)[-. ][A-Z]{3,}(?:[-.][A-Z0-9]{3,}){0,2}(?!\w)",
        cased=True,
        digits=3,
    ),
    detector(
        _OF_A_PERSON,
        rf"(?<!\w)(?:(?:{_NUMBER_WORD}|\d)(?:[\s,.()-]{{1,3}}|(?=\d))){{6,40}}"
        rf"(?:{_NUMBER_WORD}|\d)(?!\w)",
        _is_spelt_phone,
        needs=("one", "two", "three", "four", "five", "six", "eight", "nine", "drei", "vier",
               "trois", "cinq", "uno", "tres", "cuatro", "cinco", "tre", "sei"),
    ),
    detector(
        _OF_A_PERSON,
        r"(?<!\w)[\doil](?:[\s().\-/]{0,3}[\doil]){8,24}(?!\w)",
        _is_leet,
        digits=_LEET,
    ),
    detector(_OF_A_PERSON, r"\bexp(?:ires|iry)?\b\W{0,3}\d\d\s?/\s?\d{2,4}\b", needs=("exp",)),
    # An account by country, and papers by their shape or by name.
    detector(
        _OF_A_PERSON,
        r"(?<!\w)[a-z]{2}[\s.*_/-]{0,2}\d{2}(?:[\s.*_/-]{0,3}[a-z0-9]{4}){2,7}"
        r"(?:[\s.*_/-]{0,3}[a-z0-9]{1,4})?(?!\w)",
        _is_account,
        digits=_ACCOUNT,
    ),
    detector(
        _OF_A_PERSON,
        r"(?<!\w)[a-z]{2}(?:[\s\W_]{0,2}\d{2}){3}[\s\W_]{0,2}[a-d](?!\w)",
        digits=6,
    ),
    detector(
        _OF_A_PERSON,
        rf"\b{_PAPERS}\b(?:\s(?:no|nr|num|number|id|nummer|numero|is|ist|es))?\W{{0,4}}"
        r"(?:\s?is\s)?(?P<cut>(?:[a-z]{0,3}[\s.-]?)\d(?:[\s.*/-]{0,2}\w?\d){2,30}(?:[\s.-]?[a-z])?(?!\w))",
        digits=3,
    ),
    detector(
        "opaque token", r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", needs=("-",), digits=1
    ),
    # Passwords and codes of doors, told as such; "Password: Swordfish" is a film's.
    detector(
        "opaque token",
        rf"\b{_TELLS_A_KEY}(?:\s(?:is|ist|es|est)\s|\s?[:=]\s?|\s)(?P<cut>(?=\S*\d)\S{{4,}})",
        needs=("pass", "pwd", "kennwort", "contrasena", "key", "token"),
        digits=1,
    ),
    detector(
        "opaque token",
        r"\b(?:pin|(?:gate|door|access|entry|alarm|safe|lock|key|tur|pin)[\s-]?code)"
        r"(?:\s(?:is|ist|es|est)\b)?[\s:=#]{1,3}(?P<cut>\d[\d-]{3,9}#?)",
        needs=("pin", "code"),
        digits=4,
    ),
    # Keys of services and machines: no word of a language is as long with a digit in it.
    detector(
        "opaque token",
        r"(?<!\w)(?:\w{1,24}-){0,3}(?=\w*\d)(?=\w*[a-z])\w{16,}(?:-\w{1,40}){0,6}",
        digits=1,
    ),
    detector("opaque token", r"\w*\d{5,}\w*", digits=5),  # epoch stamp, postal code, numeric id
    # Letters and digits alternating at least twice, as in 4b5c6d7e or B0000C2XYZ.
    detector(
        "opaque token",
        r"\b(?=\w{7,}\b)(?:[a-z_]+\d+[a-z_]+\d\w*|\d+[a-z_]+\d+\w*|[a-z_]+\d{2,}[a-z_]+)\b",
    ),
)  # fmt: skip
