"""Text as detectors see it: every disguise of a digit, a dash, a dot or a letter as the plain one.

Detectors look at a shadow of the text, folded by what Unicode says of each character, and what
they find is cut from the text itself: "WALL-E" keeps its dot or dash, however it is written, while
a number is seen through full-width digits, keycaps, stars and dashes of every kind.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

_DEGREE_SIGNS = str.maketrans("\u00ba\u02da", "\u00b0\u00b0")  # NFKC would make them letters
# What a character is used as, by words of its Unicode name; the first that fits counts.
_BY_NAME = (
    ("@", ("COMMERCIAL AT",)),
    ("-", ("HYPHEN", "DASH", "MINUS", "TILDE", "MACRON", "PROLONGED SOUND", "DRAWINGS LIGHT HORI")),
    ("-", ("HORIZONTAL", "OVERLINE", "RIGHTWARDS ARROW", "RIGHTWARDS BLACK ARROW")),
    (".", ("MIDDLE DOT", "FULL STOP", "BULLET", "DOT OPERATOR", "ONE DOT", "PERIOD")),
    (".", ("DECIMAL SEPARATOR", "HYPHENATION POINT", "BLACK CIRCLE", "WHITE CIRCLE", "RING OPER")),
    (",", ("COMMA", "THOUSANDS SEPARATOR")),
    ("/", ("SOLIDUS", "SLASH", "RISING DIAGONAL")),
    ("\\", ("FALLING DIAGONAL",)),
    (":", ("COLON", "RATIO")),
    ('"', ("DOUBLE PRIME", "DOUBLE QUOTATION", "DOUBLE ANGLE")),
    ("'", ("APOSTROPHE", "PRIME", "QUOTATION", "ACUTE ACCENT", "GRAVE ACCENT")),
    ("+", ("PLUS SIGN",)),
    ("#", ("NUMBER SIGN", "SHARP SIGN")),
)
# Letters of other scripts that look like these Latin ones.
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb\u03bf"
    "\u0391\u0412\u0415\u041e\u0421\u0410\u041c\u041d\u0422\u0425\u0406\u0131",
    "aeopcyxijsdqwhoABEOCAMHTXIi",
)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A folded text, and where each of its characters stands in the text.

    Attributes:
        text: as detectors see it.
        places: of each character of ``text``; None where both are the same length.
        length: of the text itself.
    """

    text: str
    places: tuple[int, ...] | None
    length: int

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the text that ``text[start:end]`` stands for, marks on its end included."""
        if self.places is None:
            return start, end
        after = self.places[end] if end < len(self.places) else self.length
        return self.places[start], after


def plain(text: str) -> str:
    """Compatibility characters folded, controls and invisible ones dropped, digits as 0-9.

    What is sent is made of this; ``shadow`` goes further, for detection alone.
    """
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFKC", text.translate(_DEGREE_SIGNS))
    kept = [
        " " if c.isspace() else "" if unicodedata.category(c)[0] == "C" else _digit(c) for c in text
    ]
    return "".join(kept)


def shadow(text: str) -> Shadow:
    """The shadow of a text that ``plain`` returned."""
    if text.isascii():
        return Shadow(text, None, len(text))
    folded = [(seen, place) for place, c in enumerate(text) if (seen := _seen_as(c))]
    return Shadow("".join(c for c, _ in folded), tuple(place for _, place in folded), len(text))


def _digit(character: str) -> str:
    """Digits of every script as 0-9."""
    if character.isascii() or not character.isdecimal():
        return character
    return str(unicodedata.decimal(character))


@functools.lru_cache(maxsize=8192)
def _seen_as(character: str) -> str:
    """One plain character for one of any script; "" for marks and joiners that change none."""
    if character.isascii():
        return character
    kind, name = unicodedata.category(character), unicodedata.name(character, "")
    if kind[0] == "M" or "FILLER" in name:
        return ""
    if (value := unicodedata.numeric(character, -1.0)) in range(10):
        return str(int(value))  # circled, negative, ideographic
    if name.startswith("HANGUL"):
        return character
    if kind[0] == "L" and "SOUND MARK" not in name:
        base = unicodedata.normalize("NFKD", character)[0]
        return base.translate(_LOOK_ALIKES)
    if kind in ("Pd", "Pc"):
        return "-"
    if named := next((seen for seen, words in _BY_NAME if any(w in name for w in words)), ""):
        return named
    if character == "\u00b0":
        return character
    return {"Ps": "(", "Pe": ")", "Pi": '"', "Pf": '"', "Zs": " "}.get(kind, "*")
