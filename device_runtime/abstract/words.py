"""What may be said of each item at a privacy level, remembered per process.

At the level ``categories`` every word is a member of a closed vocabulary, or is not said: that
holds whatever the catalogue and the user say. At the other levels words have passed ``sanitise``,
which removes what it recognises.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from device_runtime.abstract.name_hiding import NameHider, single_word
from device_runtime.abstract.sanitise import (
    MAX_INPUT_CHARS,
    clean_text,
    identifiers,
    newest,
    remove_phrase,
)
from device_runtime.abstract.vocabulary import Vocabulary, speakable, spoken
from shared.abstract_form import PrivacyLevel
from shared.interactions import Catalogue

NAME_CHARS = 64  # longest title, category or area
_SAID_CATEGORIES = 3  # of an item that is told by its categories
_DECADE = re.compile(r"\(((?:18|19|20)\d)\d\)\s*$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Words:
    """Sanitised words of one item, "" or () where there are none or they may not be said.

    Attributes:
        name: what the item is called: its title, with its area where other items have the same
            title; below the level ``items`` its kind.
        categories: most specific last.
        area: neighbourhood or region; for items without one that carry a year, the decade.
    """

    name: str
    categories: tuple[str, ...]
    area: str


class ItemWords:
    """Words about the items of one catalogue.

    Args:
        catalogue: untrusted text; all of it passes ``sanitise``.
        level: see ``AbstractForm``.
    """

    def __init__(self, catalogue: Catalogue, level: PrivacyLevel) -> None:
        self._catalogue, self._level = catalogue, level
        self._ids = identifiers(catalogue.ids)
        self._words: dict[int, Words] = {}
        self._shared: frozenset[str] | None = None
        self._hider: NameHider | None = None
        self._by_single_word: Mapping[str, list[int]] = {}
        self._closed: Vocabulary | None = None
        if level == "categories":
            self._closed = Vocabulary(self._speakable())

    def of(self, item: int) -> Words:
        """Words of the item with this index."""
        if item not in self._words:
            self._words[item] = self._make(item)
        return self._words[item]

    def query(self, text: str, max_chars: int, history: Container[int]) -> str:
        """The newest words of a query, cleaned; below ``items`` without names of items.

        At the level ``categories``, the members of the vocabulary that it names, and no more.

        Args:
            text: what the user said.
            max_chars: longest result.
            history: the user's own items, whose names are looked for most thoroughly. It is only
                asked for items, and only for those whose names the text may hold.
        """
        if not text:
            return ""
        text = newest(text, MAX_INPUT_CHARS)
        if self._level != "items":
            self._hider = self._hider or self._make_hider()
            text = self._hider.hide(text, _OwnWords(self._by_single_word, history))
        if self._closed is not None:
            return self._closed.said_in(text, max_chars)
        text = clean_text(text, forbidden=self._ids, max_chars=MAX_INPUT_CHARS)
        # Clean again after the cut: half of a harmless text may look like an id or a date.
        return clean_text(newest(text, max_chars), forbidden=self._ids, max_chars=max_chars)

    def _make(self, item: int) -> Words:
        catalogue = self._catalogue
        categories, area = self._categories(item), self._clean(catalogue.areas[item], item)
        if self._level == "items":
            title = self._title(item, area)
            return Words(title or (categories[-1] if categories else ""), categories, area)
        # A path ends in what the item is; genres of a film count alike.
        told = categories[-1:] if area else categories[:_SAID_CATEGORIES]
        kind = " ".join(told)
        if self._level == "categories":
            return Words(kind, categories, "")
        if not area and (decade := _DECADE.search(catalogue.titles[item])):
            area = f"{decade[1]}0s"
            return Words(f"{kind} {area}".strip(), categories, area)
        return Words(f"{kind} in {area}" if kind and area else kind or area, categories, area)

    def _title(self, item: int, area: str) -> str:
        """The title; with the area if it alone does not say which item is meant."""
        raw = self._catalogue.titles[item]
        title = self._clean(raw, item)
        if self._shared is None:
            self._shared = shared_titles(self._catalogue.titles)
        if not title or not area or _folded(raw) not in self._shared:
            return title
        placed = f"{title} in {area}"
        # Two harmless texts may form something together that is not.
        harmless = self._clean(placed, item, max_chars=len(placed)) == placed
        return placed if harmless else title

    def _categories(self, item: int) -> tuple[str, ...]:
        # Cleaned before hyphens are opened: they are part of what gives a date or an id away.
        words = (
            self._clean(spoken(self._clean(category, item)), item)
            for category in self._catalogue.categories[item]
        )
        said = tuple(word for word in dict.fromkeys(words) if word)
        return said if self._closed is None else self._closed.only(said)

    def _speakable(self) -> tuple[str, ...]:
        """The vocabulary as training chose it, checked again; in older bundles all categories."""
        chosen = self._catalogue.vocabulary
        if chosen is None:
            chosen = tuple(c for categories in self._catalogue.categories for c in categories)
        return speakable(chosen, self._ids)

    def _clean(self, text: str, item: int, max_chars: int = NAME_CHARS) -> str:
        text = clean_text(text, forbidden=self._ids, max_chars=max_chars)
        return remove_phrase(text, self._catalogue.ids[item])

    def _make_hider(self) -> NameHider:
        catalogue = self._catalogue
        by_word: defaultdict[str, list[int]] = defaultdict(list)
        for item, title in enumerate(catalogue.titles):
            by_word[single_word(title)].append(item)
        by_word.pop("", None)
        self._by_single_word = dict(by_word)
        kinds = [self.of(item) for item in range(len(catalogue))]
        kept = {word for words in kinds for word in (*words.categories, words.area)}
        names = [
            (form, words.name)
            for title, words in zip(catalogue.titles, kinds, strict=True)
            for form in dict.fromkeys((title, clean_text(title, forbidden=self._ids)))
        ]
        if self._level == "categories":
            names += [(area, "") for area in dict.fromkeys(catalogue.areas)]
        return NameHider(names, kept)


@dataclass(frozen=True, slots=True)
class _OwnWords:
    """Words that alone are names of the user's own items."""

    items: Mapping[str, list[int]]
    history: Container[int]

    def __contains__(self, word: object) -> bool:
        named = self.items.get(word, ()) if isinstance(word, str) else ()
        return any(item in self.history for item in named)


def shared_titles(titles: Iterable[str]) -> frozenset[str]:
    """Case-folded titles that more than one item has (as the source writes them)."""
    counts = Counter(map(_folded, titles))
    return frozenset(title for title, count in counts.items() if count > 1)


def _folded(title: str) -> str:
    return " ".join(title.split()).casefold()
