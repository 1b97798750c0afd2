"""Detectors of dates that name a day, and of times of day."""

from __future__ import annotations

import re

from device_runtime.abstract.detector import detector
from device_runtime.abstract.folding import shadow

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_ENGLISH = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Without accents, as a shadow has them. Only after a day: "mars" and "mai" are words as well.
_ELSEWHERE_SAID = (
    # French, German, Spanish, Italian, Portuguese
    "janvier fevrier avril avr mai juin juillet juill juil aout septembre octobre novembre "
    "decembre "
    "januar janner februar feber marz maerz juni juli august oktober okt dezember dez "
    "enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre "
    "diciembre gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre "
    "janeiro fevereiro marco maio junho julho setembro outubro novembro dezembro "
    # Dutch, Swedish, Danish, Norwegian, Indonesian; Polish, Czech
    "januari februari maart mei augustus maj augusti marts desember agustus maret "
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia wrzesnia pazdziernika listopada "
    "grudnia ledna unora brezna dubna kvetna cervna cervence srpna zari rijna listopadu prosince "
    # Turkish, Finnish, Romanian, Hungarian
    "ocak subat nisan mayis haziran temmuz agustos eylul ekim kasim aralik "
    "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesakuuta heinakuuta elokuuta "
    "syyskuuta lokakuuta marraskuuta joulukuuta ianuarie februarie martie aprilie iunie iulie "
    "septembrie octombrie noiembrie decembrie marcius aprilis majus junius julius augusztus "
    "szeptember"
)
# Russian and Ukrainian; some of their letters look Latin, and a shadow has them so.
_CYRILLIC = (
    "января февраля марта апреля мая июня "
    "июля августа сентября октября ноября декабря "
    "січня лютого березня квітня травня червня "
    "липня серпня вересня жовтня листопада грудня"
)  # fmt: skip
_ELSEWHERE = tuple(f"{_ELSEWHERE_SAID} {shadow(_CYRILLIC).text}".split())
_ANY_MONTH = rf"(?:{_MONTH}|{'|'.join(sorted(set(_ELSEWHERE), reverse=True))})"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_NTH = (
    r"(?:(?:twenty|thirty)[\s-])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)"
    r"|tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth"
)
_IN_WORDS = r"(?:\d{4}|nineteen\s[\w-]{1,20}|twenty[\s-][\w-]{1,20}|two\sthousand)"
_MARK = r"\s?[-./*_|~:'\\,+=]{1,2}\s?"
_GAP = r"[\s._/*-]{0,3}"
_YEAR = r"(?P<year>(?:18|19|20)\d\d)"


def _is_day(match: re.Match[str]) -> bool:
    """Day and month in either order; "parts 1, 2, 10" is a list."""
    one, two = int(match["one"]), int(match["two"])
    listed = "," in match[0] and len(match["year"]) == 2
    return 0 < min(one, two) <= 12 and max(one, two) <= 31 and not listed


MOMENTS = (
    # ISO 8601 and its relatives; then day-month-year; then a day beside a month's name.
    detector("date", r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:T?[\d:.]*Z?)", digits=6),
    detector("date", r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}", digits=4),
    detector(
        "date",
        rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}\b\.?(?:,?\s+\d{{4}})?"
        rf"|\b{_MONTH}\.?\s+{_DAY}\b(?:,?\s+\d{{4}})?",
        needs=_ENGLISH,
        digits=1,
    ),
    # The same with any mark between.
    detector("date", rf"(?<!\d){_YEAR}{_MARK}(?P<one>\d\d?){_MARK}(?P<two>\d\d?)(?!\d)",
             _is_day, digits=6),
    detector("date", rf"(?<!\d)(?P<one>\d\d?)(?P<mark>{_MARK})(?P<two>\d\d?)(?P=mark)"
             r"(?P<year>(?:(?:18|19|20)\d\d|\d\d))(?!\d)", _is_day, digits=4),
    detector("date", rf"(?<!\d)(?P<one>\d\d?)\s(?P<two>\d\d?)\s{_YEAR}(?!\d)", _is_day, digits=6),
    detector("date", r"(?<!\w)\d{4}-?W\d{2}(?:-?\d)?(?!\w)", digits=6),
    detector("date", r"(?<!\w)\d\d?\s?[./-]\s?(?:i{1,3}|iv|vi{0,3}|ix|xi{0,2})\s?[./-]\s?\d{2,4}",
             digits=3),
    # In other languages, other orders and in words.
    detector(
        "date",
        rf"\b\d\d?(?:st|nd|rd|th|er|ten|ter|te|e|o|a|\.)?{_GAP}(?:(?:de|di|d'|of|del)\s{{0,2}})?{_ANY_MONTH}\b"
        r"\.?(?:[\s._/,*-]{0,3}(?:(?:de|del|di)\s)?(?:\d{4}|'?\d\d)\b)?",
        needs=(*_ENGLISH, *_ELSEWHERE),
        digits=1,
        letters=True,
    ),
    # March in French and Swedish is a planet elsewhere: "Mission 2 Mars".
    detector("date", r"\b(?:le|du|den|der)\s\d\d?(?:er|:e|\.)?\s?mars\b(?:\s\d{2,4}\b)?"
             r"|\b\d\d?(?:er|:e|\.)?\s?mars\s(?:19|20)\d\d\b", needs=("mars",), digits=1),
    detector("date", rf"\b{_YEAR}[\s._/*-]{{1,3}}{_ANY_MONTH}[\s._/,*-]{{1,3}}\d\d?\b", digits=5),
    detector("date", rf"\b{_MONTH}[._/*-]{{1,3}}\s?{_DAY}\b"
             r"(?:[\s._/,*-]{0,3}'?(?:\d{4}|\d\d)\b)?", needs=_ENGLISH, digits=1),
    detector(
        "date",
        rf"\b(?:the\s)?(?:{_NTH})(?:\sof)?\s{_MONTH},?\s{_IN_WORDS}"
        rf"|\b{_MONTH}\s(?:the\s)?(?:{_NTH}),?\s{_IN_WORDS}",
        needs=_ENGLISH,
    ),
    detector(
        "date",
        r"\d{2,4}\s?[\u5e74\ub144]\s?\d\d?\s?[\u6708\uc6d4](?:\s?\d\d?\s?[\u65e5\uc77c]?)?"
        r"|\d\d?\s?[\u6708\uc6d4]\s?\d\d?\s?[\u65e5\uc77c\u53f7]",
        needs=("\u6708", "\uc6d4"),
    ),
    # Times of day.
    detector("time of day", r"\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:\s*[ap]\.?m\b\.?)?",
             needs=(":",), digits=3),
    detector("time of day", r"\b\d{1,2}(?:\.\d\d)?\s*[ap]\.?m\b\.?", needs=("m",), digits=1),
    detector("time of day", r"\b\d{1,2}\s?(?:h|uhr)\s?\d{2}\b|\b\d{1,2}\.\d\d\s?uhr\b",
             needs=("h",), digits=3),
)  # fmt: skip
