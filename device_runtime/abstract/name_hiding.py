"""Names of items inside free text, said as what kind of thing they are.

A user types "something like Heat". Where an abstract may not name items, "Heat" has to go as well,
but what kind of film it is may stay: "something like crime drama".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable

_WORD = re.compile(r"\w+")
_YEAR = re.compile(r"\s*\((?:18|19|20)\d\d\)\s*$", re.ASCII)
_MAX_WORDS = 16
_MAX_ROUNDS = 4
_CASED_FROM, _KNOWN_FROM = 4, 3  # letters of a one-word name that is looked for


class NameHider:
    """Finds names by their words, whatever the punctuation and case between them.

    A name with a year, as in "Heat (1995)", is found with it and without. One word alone is often
    no name ("it", "home"): without its year it counts only when written as the name is and of
    4 letters or more, or when it names one of ``known``.

    Args:
        names: (name, words to say instead) of every item, in the items' order.
        kept: words and phrases that may stay although something is called by them.
    """

    def __init__(self, names: Iterable[tuple[str, str]], kept: Collection[str] = ()) -> None:
        allowed = {_folded(phrase) for phrase in kept}
        self._instead: dict[tuple[str, ...], str] = {}
        self._single: dict[str, tuple[str, str]] = {}  # folded -> as written, instead
        for name, instead in names:
            bare = _YEAR.sub("", name)
            for form in (name, bare):
                words = _folded(form)
                if not words or words in allowed or len(words) > _MAX_WORDS:
                    continue
                if len(words) > 1:
                    self._instead.setdefault(words, instead)
                else:
                    self._single.setdefault(words[0], (_WORD.findall(form)[0], instead))
        self._longest = max((len(words) for words in self._instead), default=1)

    def hide(self, text: str, known: Container[str] = ()) -> str:
        """``text`` with every name replaced.

        Args:
            text: free text.
            known: words that count as a name in any case (see ``single_word``): of the user's own
                items. Only asked of the words of the text.
        """
        for _ in range(_MAX_ROUNDS):
            hidden = self._once(text, known)
            if hidden == text:
                break  # words brought together may have formed another name
            text = hidden
        return text

    def _once(self, text: str, own: Container[str]) -> str:
        words = list(_WORD.finditer(text))
        folded = [word[0].casefold() for word in words]
        parts, done, first = [], 0, 0
        while first < len(words):
            last, instead = self._name_at(words, folded, first, own)
            if last is None:
                first += 1
                continue
            start, end = words[first].start(), words[last].end()
            # A year was inside parentheses: its closing one goes with it.
            if text[start:end].count("(") > text[start:end].count(")") and text[end : end + 1]:
                end += text[end] == ")"
            parts += [text[done:start], instead]
            done, first = end, last + 1
        return "".join([*parts, text[done:]])

    def _name_at(
        self, words: list[re.Match[str]], folded: list[str], first: int, own: Container[str]
    ) -> tuple[int | None, str]:
        """Last word of the longest name that begins at ``first``, and what to say instead."""
        for last in range(min(first + self._longest, len(words)) - 1, first, -1):
            if (instead := self._instead.get(tuple(folded[first : last + 1]))) is not None:
                return last, instead
        written, instead = self._single.get(folded[first], ("", ""))
        as_named = words[first][0] == written and len(written) >= _CASED_FROM
        if written and (as_named or folded[first] in own):
            return first, instead
        return None, ""


def single_word(name: str) -> str:
    """The one case-folded word of a name, its year aside; "" where it has more or is short."""
    words = _folded(_YEAR.sub("", name))
    return words[0] if len(words) == 1 and len(words[0]) >= _KNOWN_FROM else ""


def _folded(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in _WORD.findall(text))
