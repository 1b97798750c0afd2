"""Words about items: cleaning, bounds, and telling names from opaque ids."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from device_runtime.abstract.sanitise import findings

MAX_TITLE_CHARS = 200
MAX_TEXT_CHARS = 2_000
MAX_CATEGORIES = 16
JUDGED = 1_000
UNKNOWN_ITEM = "unknown item"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
# Scripts whose words may be of two letters.
_SHORT_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")
_LETTER = re.compile(r"[^\W\d_]")
_HEX = re.compile(r"[0-9a-fA-F-]{8,}")


_NO_WORDS = {"place", "opaque token", "number of a person"}


@dataclass(frozen=True, slots=True)
class Item:
    """What a source says of one item; see ``shared.interactions.Catalogue`` for the fields."""

    title: str
    categories: tuple[str, ...] = ()
    area: str = ""
    text: str = ""


def clean(text: str | None, limit: int) -> str:
    """One line of printable text, runs of white space collapsed, at most ``limit`` characters."""
    return " ".join(_UNPRINTABLE.sub(" ", text or "").split())[:limit].rstrip()


def describe(
    title: str, *, categories: tuple[str, ...] = (), area: str = "", more: str = ""
) -> Item:
    """An item whose embedder text is its title, categories, area and ``more``, in that order.

    An item without a title goes by its most specific category, without any by UNKNOWN_ITEM.
    """
    words = (clean(category, MAX_TITLE_CHARS) for category in categories)
    categories = tuple(dict.fromkeys(word for word in words if word))[:MAX_CATEGORIES]
    title = clean(title, MAX_TITLE_CHARS) or (categories[-1] if categories else UNKNOWN_ITEM)
    area = clean(area, MAX_TITLE_CHARS)
    parts = [title, ", ".join(categories), area, clean(more, MAX_TEXT_CHARS)]
    text = ". ".join(part.rstrip(".") for part in dict.fromkeys(parts) if part)
    return Item(title, categories, area, clean(text, MAX_TEXT_CHARS))


def from_id(item_id: str) -> Item:
    """The item as its own id says it, or UNKNOWN_ITEM when the id is a number, a key or a hash.

    An id that is not words would tell the embedder nothing, and as a title it would leave the
    device inside an abstract.
    """
    return describe(UNKNOWN_ITEM if is_opaque(item_id) else item_id)


def is_opaque(item_id: str) -> bool:
    """True for ids that are not words: ``1193``, ``B004756YJA``, ``49bbd6c0f964a520f4531fe3``."""
    if not _WORD.search(item_id) or _HEX.fullmatch(item_id):
        return True
    return " " not in item_id.strip() and any(character.isdigit() for character in item_id)


def tells_words(values: Iterable[str], counts: Callable[[str], bool] | None = None) -> bool:
    """Whether a column of texts is words: at least half of its values are, of those looked at.

    A column of latitudes, prices, cells of a grid or keys is not, whatever single ones look like.

    Args:
        values: the first JUDGED distinct ones are looked at.
        counts: what a value has to be; by default words that are no key.
    """
    judged = list(itertools.islice(dict.fromkeys(values), JUDGED))
    return 2 * sum(map(counts or _is_words, judged)) >= max(1, len(judged))


def in_words(part: str) -> bool:
    """Whether a part of a joined id, of a column that tells words, may stand in a title.

    "U2" may, beside a track's name; "1979", "40.59N" and "49bbd6c0f964a520f4531fe3" may not.
    """
    if not _LETTER.search(part) or _HEX.fullmatch(part):
        return False
    return not any(kind in _NO_WORDS for kind, _ in findings(part))


def _is_words(value: str) -> bool:
    named = not is_opaque(value) or _SHORT_WORD.search(value) is not None
    return named and in_words(value)
