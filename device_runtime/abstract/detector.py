"""Detector: one pattern of what may not leave the device, and when a match of it counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "mail", "name of a user", "address on a network", "path", "date", "time of day", "place",
    "number of a person", "opaque token",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds one kind of thing in a shadow (see ``folding``).

    Attributes:
        kind: what it finds.
        pattern: what to cut is its group ``cut``, or all of it. Each repetition in it is bounded or
            cannot overlap its neighbours, so that no text takes long.
        counts: whether a match is one after all.
        needs: it can only match where one of these stands in the text, in lower case; (): anywhere.
        digits: it can only match where there are so many. Most titles have none, and cost nothing.
    """

    kind: Kind
    pattern: re.Pattern[str]
    counts: Callable[[re.Match[str]], bool] | None = None
    needs: tuple[str, ...] = ()
    digits: int = 0

    def may_match(self, lowered: str, digits: int) -> bool:
        """Whether to look at all, from the text in lower case and how many digits it holds."""
        if digits < self.digits:
            return False
        return not self.needs or any(need in lowered for need in self.needs)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of what it finds."""
        for match in self.pattern.finditer(text):
            if match.end() > match.start() and (self.counts is None or self.counts(match)):
                yield match.span("cut" if "cut" in self.pattern.groupindex else 0)


def detector(
    kind: Kind,
    pattern: str,
    counts: Callable[[re.Match[str]], bool] | None = None,
    *,
    needs: tuple[str, ...] = (),
    digits: int | None = None,
    cased: bool = False,
    letters: bool = False,
) -> Detector:
    """A detector; without ``needs`` or ``digits`` it needs two digits.

    Its letters are ASCII in any case; ``cased``: as written; ``letters``: of any script.
    """
    flags = (0 if cased else re.IGNORECASE) | (0 if letters else re.ASCII)
    return Detector(
        kind=kind,
        pattern=re.compile(pattern, flags),
        counts=counts,
        needs=needs,
        digits=(0 if needs else 2) if digits is None else digits,
    )
