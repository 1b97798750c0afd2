"""Detectors of addresses: mail, names of users, hosts and machines, paths."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from device_runtime.abstract.detector import detector
from device_runtime.abstract.top_level import TOP_LEVEL

_OPEN, _CLOSE = r"\s*[\[({<*|_-]{1,3}\s*", r"\s*[\])}>*|_-]{1,3}\s*"
_AT_WORDS, _DOT_WORDS = (
    r"(?:at|at[-\s]?sign|arroba|arobase|chiocciola|klammeraffe)",
    r"(?:dot|punkt|punto|point)",
)
_AT = rf"(?:\s*@\s*|{_OPEN}(?:at|@){_CLOSE}|\s{{1,3}}{_AT_WORDS}\s{{1,3}})"
_DOT = rf"(?:{_OPEN}(?:{_DOT_WORDS}|\.){_CLOSE}|\s{{1,3}}{_DOT_WORDS}\s{{1,3}})"
_LABEL = r"[^\W_](?:[\w-]{0,62}[^\W_])?"
_PROVIDERS = (
    r"(?:gmail|googlemail|hotmail|outlook|yahoo|icloud|proton(?:mail)?|gmx|aol|yandex|web|libero"
    r"|qq)"
)
_SERVICES = (
    r"(?:insta(?:gram)?|ig|twitter|snap(?:chat)?|telegram|tiktok|discord|skype|whatsapp|wechat"
    r"|steam|psn|xbox|facebook|fb|linkedin|mastodon|kik|user|usuario|utilisateur|pseudo)"
)
_USER_NAME = (
    r"(?:(?:user|steam|xbox|psn)\s?(?:name|id)|login|nick(?:\s?name)?|nutzername|screen\s?name|benutzer(?:name)?|gamertag"
    r"|nombre\sde\susuario|nom\sd'utilisateur)"
)
# Of hosts that are told in words; others are words of a sentence too often: "polka dot in red".
_TOLD_ENDS = (
    "com net org edu gov info io co uk de fr es nl eu ca au ch se dk pl ru br jp cn tv app dev xyz "
    "biz it"
)
_TOLD = frozenset(_TOLD_ENDS.split())
_OLDEST = frozenset({"com", "net", "org", "edu", "gov", "info"})
_BEFORE_A_DOT = frozenset({"the", "a", "an", "this", "of", "polka"})


def _is_host(match: re.Match[str]) -> bool:
    """Whether words with dots between them are a host, and no sentence that lacks a blank."""
    name = match["host"]
    labels = name.split(".")
    if labels[-1].lower() not in TOP_LEVEL:
        return False
    # "It was good.So was he" and "Dr.No" are none, nor is "will.i.am".
    last = labels[-1]
    cased = last == last.lower() or name == name.upper() or last.lower() in _OLDEST
    return cased and (match["path"] is not None or all(len(label) > 1 for label in labels))


def _is_told_host(match: re.Match[str]) -> bool:
    last, said = match["last"].lower(), match["name"].lower()
    return last in _TOLD and said not in _BEFORE_A_DOT and (last != "it" or "punto" in match[0])


def _is_mail(match: re.Match[str]) -> bool:
    """Whether it ends in a host: "look at me.so" begins no address."""
    last = match["last"]
    if last.lower() not in TOP_LEVEL or (last != last.lower() and match[0] != match[0].upper()):
        return False
    return any(c.isalpha() for c in match["host"])


def _is_told_mail(match: re.Match[str]) -> bool:
    """Whether it ends in a host: "at this point it" does not."""
    last = match["last"].lower()
    return last in _TOLD and (last != "it" or "punto" in match[0].lower())


def _is_ip6(match: re.Match[str]) -> bool:
    try:
        ipaddress.IPv6Address(re.split(r"[%\]]", match[0])[0])
    except ValueError:
        return False
    return any(c.isdigit() for c in match[0]) or match[0].count(":") > 3


def _has_two_digits(match: re.Match[str]) -> bool:
    return sum(c.isdigit() for c in match[0]) > 1


_NET: Final = "address on a network"

MAIL = (
    # Whatever hangs together with an @ is an address or a handle.
    detector("mail", r"(?<!\S)\S*@\S*", needs=("@",)),
    detector(
        "mail",
        rf"[\w.+-]{{1,64}}\s?@\s?(?P<host>{_LABEL})(?:\s?\.\s?{_LABEL}){{0,3}}"
        r"\s?\.\s?(?P<last>[a-z]{2,24})\b",
        _is_mail,
        needs=("@",),
        letters=True,
    ),
    # ann (dot) lee (at) example (dot) com, in brackets or in words.
    detector(
        "mail",
        rf"(?<![\w.+-])(?:[\w+-]{{1,64}}{_DOT}){{0,2}}[\w.+-]{{1,64}}{_AT}(?P<host>{_LABEL})"
        rf"(?:(?:{_DOT}|\.){_LABEL}){{0,2}}{_DOT}(?P<last>[a-z]{{2,24}})\b",
        _is_told_mail,
        needs=("dot", "punkt", "punto", "point", "[.", "(.", "{.", "<."),
    ),
    detector(
        "mail",
        rf"(?<![\w.+-])[\w.+-]{{1,64}}{_AT}(?P<host>{_LABEL})(?:\.{_LABEL}){{0,2}}"
        r"\.(?P<last>[a-z]{2,24})(?![\w'])(?:[/?:]\S*)?",
        _is_mail,
        needs=("at", "@", "arroba", "arobase", "chiocciola", "klammeraffe"),
    ),
    detector(
        "mail",
        rf"(?<![\w.+-])[\w.+-]{{1,64}}\s{{1,3}}(?:at\s{{1,3}})?{_PROVIDERS}(?:\s{{1,3}}|\s?\.\s?)"
        r"(?:com|net|org|de|fr|it|es|ru)\b",
        needs=("mail", "outlook", "yahoo", "icloud", "proton", "gmx", "aol", "yandex", "web", "qq"),
    ),
    detector(
        "mail",
        r"(?<![\w.])[\w.+-]{2,64}?(?:AT|_at_|-at-)[\w-]{2,40}?(?:DOT|_dot_|-dot-)[a-z]{2,10}\b",
        needs=("dot",),
        cased=True,
    ),
)
OTHER_ADDRESSES = (
    # Names of users, by how they are written or introduced.
    detector(
        "name of a user", r"(?<![\w.])/?u(?:ser)?/[\w-]{2,40}", needs=("u/", "user/"), letters=True
    ),
    detector(
        "name of a user",
        rf"\b{_SERVICES}\s?(?:[:=]|\bis\b|\bist\b|\bes\b|\best\b)\s?[:=]?\s?"
        r"(?=[^\W_]\S*[\d_.]\w)[\w.#-]{3,40}",
        needs=(":", "=", " is ", " ist ", " es ", " est "),
        letters=True,
    ),
    # A handle behind the name of its service, by the digit, dot or underscore in it.
    detector(
        "name of a user",
        r"\b(?:insta(?:gram)?|ig|snap(?:chat)?|telegram|tiktok|discord|skype|kik|twitter)\s"
        r"(?P<cut>(?=[a-z][\w.]*[\d_.]\w)[a-z][\w.]{3,40})",
        needs=("ig ", "gram ", "insta ", "snap", "tiktok", "discord", "skype", "kik ", "twitter"),
    ),
    detector(
        "name of a user",
        rf"\b{_USER_NAME}\s{{0,2}}[:=]\s{{0,2}}[\w.#-]{{2,40}}",
        needs=(":", "="),
        letters=True,
    ),
    detector("name of a user", r"(?<!\w)\w{2,32}#\d{4}(?!\w)", needs=("#",), letters=True),
    # Hosts.
    detector(_NET, r"(?<!\S)\S*(?:://|:\\\\)\S*", needs=(":",)),
    detector(
        _NET, r"\b(?:hxxps?|https?|ftp|wss?)\s?:\W{0,4}\S+", needs=("htt", "hxx", "ftp", "ws")
    ),
    detector(
        _NET, r"(?<![^\W_])www\d?[.\s]\s?\S+(?:\s(?:com|org|net|de|fr|co)\b)?", needs=("www",)
    ),
    detector(_NET, r"\b(?:mailto|tel|sms|whatsapp|geo|urn|magnet):\S+", needs=(":",)),
    detector(
        _NET,
        rf"(?<![\w.])(?P<host>{_LABEL}(?:\.{_LABEL}){{1,8}})\.?(?P<path>:\d{{2,5}}\b(?:/\S*)?|[/?#]\S*)?"
        r"(?![\w@])",
        _is_host,
        needs=(".",),
        letters=True,
    ),
    detector(
        _NET,
        rf"(?<![\w.-])(?P<name>{_LABEL})(?:(?:{_DOT}|\.){_LABEL}){{0,2}}{_DOT}"
        r"(?P<last>[a-z]{2,24})\b(?:/\S*)?",
        _is_told_host,
        needs=("dot", "punkt", "punto", "point", "[.", "(.", "{.", "<."),
    ),
    detector(_NET, r"(?<![\w,])[\w-]{2,63},(?:com|net|org)(?![\w,])", needs=(",",)),
    detector(_NET, r"(?<![\w.])[\w-]{2,63}(?:\s\.\s?|\.\s)(?:com|net|org)(?!\w)", needs=(".",)),
    detector(_NET, r"\blocalhost\b(?::\d{1,5})?\S*", needs=("localhost",)),
    # Machines.
    detector(
        _NET,
        r"\d{1,3}(?:\s?[\[({]?\s?(?:\.|dot|punkt|punto|point)\s?[\])}]?\s?\d{1,3}){3}"
        r"(?::\d{1,5})?(?:/\d+)?",
        digits=4,
    ),
    detector(
        _NET,
        r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4})(?:%\w{1,15})?"
        r"(?:\]:\d{1,5})?(?![\w:])",
        _is_ip6,
        needs=(":",),
    ),
    detector(
        _NET,
        r"(?<!\w)(?:[0-9a-f]{2}[\s:.*_-]){5}[0-9a-f]{2}(?!\w)"
        r"|(?<!\w)(?:[0-9a-f]{4}[.:-]){2}[0-9a-f]{4}(?!\w)",
        _has_two_digits,
    ),
    detector(_NET, r"(?<![\w:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![\w:])", needs=(":",)),
    # Paths of two steps or more, of Unix and of Windows.
    detector(
        "path",
        r"(?<![\w/])(?:~|\.{1,2})?(?:/[\w.%+~-]{1,80}){2,20}/?(?:\s[\w.-]{1,40}(?:/[\w.%+~-]{1,80}){1,9})?",
        needs=("/",),
        letters=True,
    ),
    detector("path", r"(?<!\w)[%$]\w{1,40}%?[\\/]\S+", needs=("%", "$")),
    detector("path", r"(?<!\w)~/\S+", needs=("~/",)),
    detector("path", r"\b[a-z]:[\\/]\S+|\\\\[\w.-]+\\\S+", needs=("\\", ":/")),
)
