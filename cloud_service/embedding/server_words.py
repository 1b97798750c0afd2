"""What an embedding server said, fit for a log: short, plain, without the texts it was sent.

Servers repeat their input in errors, whole, cut, escaped or in pieces, and an input is what a
device told of its user. So a word of theirs is kept where it is common in such errors, or where it
occurs in none of the texts.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_plus

MOST_CHARS = 200
_MOST_READ = 4_000
_MOST_WORD = 24
_GONE = "…"
_PARTS = re.compile(r"\w+|\s+|[^\w\s]")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_GAPS = re.compile(rf"(?:[\s\W]*{_GONE}[\s\W]*)+")
# Four numbers or more in a row may be the tokens of a text.
_NUMBERS = re.compile(r"\d+(?:\W{1,3}\d+){3,}")
# Words that tell what went wrong, and nothing of a user.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be but by can cannot could does for from has have if in is it its no not
        of on only or than that the this to too was were when which with your you
        allowed argument array base64 batch bad backend body broken characters code connection
        content context cuda cpu current data detail device dimension dimensions empty encoding
        error exceed exceeded exceeds exception expected failed field float format found given gpu
        greater inf input inputs internal increase invalid key large length less limit list long
        longer max maximum memory message minimum missing model models must nan null number one out
        overloaded param parameter parameters physical pooling position process processing prompt
        provided rate received request requested requests required runtime sequence server size
        status string supported text texts token tokenization tokenizer tokens truncate type
        unavailable unknown unsupported validation value values vector vectors
        """,
    )
)


def server_words(body: str, sent: Iterable[str]) -> str:
    """The message in an error's ``body``, at most MOST_CHARS long, without words of ``sent``."""
    text = _plain(_message(body)[:_MOST_READ])
    hidden = "\n".join(_plain(one) for one in sent).casefold()
    words_sent = {word for word in re.findall(r"\w+", hidden) if len(word) >= 5}
    text = _NUMBERS.sub(_GONE, text)
    kept = [_kept(part, hidden, words_sent) for part in _PARTS.findall(text)]
    said = " ".join(_GAPS.sub(f" {_GONE} ", "".join(kept)).split())
    return said if len(said) <= MOST_CHARS else said[: MOST_CHARS - 1] + _GONE


def _kept(part: str, hidden: str, words_sent: set[str]) -> str:
    word = part.casefold()
    if not part[0].isalnum() and part[0] != "_":
        return " " if part.isspace() else part
    if word in _COMMON:
        return part
    if len(part) > _MOST_WORD or word in hidden or any(sent in word for sent in words_sent):
        return _GONE
    return part


def _message(body: str) -> str:
    """The words in the usual places of a JSON error, else the body as it is."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body
    for _ in range(4):
        if isinstance(found, dict):
            names = ("error", "message", "detail", "msg", "reason")
            found = next((found[name] for name in names if found.get(name)), "")
        elif isinstance(found, list):
            found = found[0] if found else ""
    return found if isinstance(found, str) else ""


def _plain(text: str) -> str:
    """Without escapes, control characters and forms of the same letters."""
    text = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    text = unicodedata.normalize("NFKC", html.unescape(unquote_plus(text)))
    return "".join(c if c.isprintable() else " " for c in text)
