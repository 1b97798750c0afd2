"""The two corpora, and what sanitising does to them at each privacy level."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from device_runtime.abstract.folding import plain, shadow
from device_runtime.abstract.sanitise import clean_text
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import RequestContext
from shared.abstract_form import AbstractForm, PrivacyLevel
from shared.interactions import Catalogue
from tests.support.pasts import past

FOLDER = Path(__file__).parent
LEVELS: tuple[PrivacyLevel, ...] = get_args(PrivacyLevel)
_SECRET = re.compile(r"\[\[(.*?)\]\](?!\])")
_PIECE = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Secret:
    """One string of the corpus.

    Attributes:
        kind: what it gives away.
        text: as somebody would write it.
        frame: the words around the secret, which may stay.
    """

    kind: str
    text: str
    frame: str

    def told_in(self, said: str) -> Counter[str]:
        """Pieces of words in ``said`` that are not from the frame: what was let through."""
        return _pieces(said) - _pieces(self.frame)


def secrets() -> list[Secret]:
    """The corpus of what must not leave."""
    found = []
    for line in _lines("secrets.txt"):
        kind, _, text = line.partition(" | ")
        found.append(Secret(kind, _SECRET.sub(r"\1", text), _SECRET.sub(" ", text)))
    return found


def innocents() -> list[str]:
    """Titles, categories and queries that should stay as they are."""
    return _lines("innocents.txt")


def kept_from_text(secret: Secret) -> bool:
    """Whether the sanitiser alone lets nothing of the secret pass."""
    return not secret.told_in(clean_text(secret.text))


def kept_from_abstract(secret: Secret, level: PrivacyLevel, *, asked: bool) -> bool:
    """Whether nothing of it is in the abstract of a user whose item, or whose query, holds it.

    Args:
        secret: stands in the item's title, category and area, or in what the user asks.
        level: of privacy.
        asked: in the query.
    """
    text = "" if asked else secret.text
    catalogue = Catalogue(
        ids=("1", "2"),
        titles=(text or "Alien (1979)", "Heat (1995)"),
        categories=((text,) if text else (), ("drama",)),
        areas=(text, "Soho"),
        texts=("", ""),
        vocabulary=("drama",),  # as training chooses: a category of one item is not among them
    )
    writer = TemplateAbstract(catalogue, AbstractForm(level=level))
    context = RequestContext(None, 0.0, secret.text if asked else "")
    said = writer.write(past([0, 1, 0]), context)
    allowed = _pieces(f"{secret.frame} {_TEMPLATE}").keys()
    return not secret.told_in(said).keys() - allowed


def stays(text: str) -> bool:
    """Whether an innocent text passes unchanged, white space and letter forms aside."""
    return clean_text(text, max_chars=300) == " ".join(plain(text).split())


_TEMPLATE = (
    "mostly some around often returns to recently and asks nothing tell in soho drama "
    "heat 1995 1990s alien 1979 1970s"
)


def _pieces(text: str) -> Counter[str]:
    return Counter(_PIECE.findall(shadow(plain(text)).text.casefold()))


def _lines(name: str) -> list[str]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("# ")]
