"""Words for a terminal in which only the program's own brackets are markup."""

from __future__ import annotations

import unicodedata
from typing import Final

from rich.text import Text

from shared.addresses import masked

_PLACE: Final = "{}"


def marked(template: str, *values: object) -> Text:
    """``template`` in rich's markup, with a value shown as it is for each ``{}`` in it.

    Titles, ids, paths and errors come from outside: "[/red]" in them is a word, not the end of a
    colour, ":100:" no picture, and no escape sequence of theirs reaches the terminal. Escaping them
    would not do: brackets of a value and of the template can pair, and so can their backslashes.
    """
    told = Text.from_markup(template, emoji=False)
    done, text = 0, Text(end=told.end)
    for value in values:
        place = told.plain.index(_PLACE, done)
        spans = [span.style for span in told.spans if span.start <= place < span.end]
        text.append_text(told[done:place])
        shown = Text(as_shown(value))
        for style in spans:
            shown.stylize(style)
        text.append_text(shown)
        done = place + len(_PLACE)
    return text.append_text(told[done:])


def as_shown(value: object) -> str:
    """``str(value)`` with secrets of addresses as stars and control characters made visible."""
    text = masked(str(value))
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or not _controls(c) else ascii(c)[1:-1] for c in text)


def _controls(character: str) -> bool:
    # Bidirectional marks among them: they can make a line read as another.
    return unicodedata.category(character) in ("Cc", "Cs") or character in _TURNING


_TURNING: Final = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
