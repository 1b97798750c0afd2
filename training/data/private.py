"""What a catalogue may say of people: no names of users, and which categories are common enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from device_runtime.abstract.folding import plain, shadow
from device_runtime.abstract.sanitise import identifiers, without_identifiers
from device_runtime.abstract.vocabulary import speakable
from shared.interactions import Catalogue

_WORD = re.compile(r"\w+")
MIN_ITEMS, MIN_USERS = 3, 3  # of a category that may be said where nothing else is


def without_users(catalogue: Catalogue, user_ids: Iterable[str]) -> tuple[Catalogue, int]:
    """The catalogue without ids of users in its words, and how many items had one.

    Short numbers are no ids here, see ``identifiers``: "12 Monkeys" is not about user 12.
    """
    cut = _cutter(user_ids)
    touched = 0
    titles, categories, areas, texts = [], [], [], []
    rows = zip(
        catalogue.titles, catalogue.categories, catalogue.areas, catalogue.texts, strict=True
    )
    for row in rows:
        title, kinds, area, text = row
        kept = (
            cut(title),
            tuple(k for kind in kinds if (k := cut(kind))),
            cut(area),
            cut(text),
        )
        touched += kept != row
        titles.append(kept[0])
        categories.append(kept[1])
        areas.append(kept[2])
        texts.append(kept[3])
    if not touched:
        return catalogue, 0
    said = replace(
        catalogue,
        titles=tuple(titles),
        categories=tuple(categories),
        areas=tuple(areas),
        texts=tuple(texts),
    )
    return said, touched


def queries_without_users(queries: pl.Series, user_ids: Iterable[str]) -> pl.Series:
    """[n] queries without ids of users, as a device cuts its own user's from them."""
    cut, texts = _cutter(user_ids), queries.to_list()
    shorter = {text: cut(text) for text in set(texts)}
    return pl.Series(queries.name, [shorter[text] for text in texts], dtype=pl.String)


def common_categories(
    catalogue: Catalogue, user: NDArray[np.integer], item: NDArray[np.integer]
) -> tuple[str, ...]:
    """The phrases of categories that MIN_ITEMS items have and MIN_USERS users met, sorted.

    A rarer one may name a single item or tell of a single user.

    Args:
        catalogue: of I items.
        user: [n] whose event each is.
        item: [n] item index of each event.
    """
    names = sorted({name for kinds in catalogue.categories for name in kinds})
    place = {name: number for number, name in enumerate(names)}
    if not names:
        return ()
    n_users = int(user.max()) + 1
    pairs = np.unique(item.astype(np.int64) * n_users + user)  # by item, then user
    first = np.searchsorted(pairs, np.arange(len(catalogue) + 1) * n_users)
    items: list[int] = [0] * len(names)
    users: list[set[int]] = [set() for _ in names]
    for number, kinds in enumerate(catalogue.categories):
        met = (pairs[first[number] : first[number + 1]] % n_users).tolist()
        for name in set(kinds):
            items[place[name]] += 1
            if len(users[place[name]]) < MIN_USERS:
                users[place[name]].update(met)
    common = (
        name
        for name, n_items, people in zip(names, items, users, strict=True)
        if n_items >= MIN_ITEMS and len(people) >= MIN_USERS
    )
    return speakable(common, identifiers(catalogue.ids))


def _cutter(ids: Iterable[str]) -> Callable[[str], str]:
    forbidden = identifiers(ids)
    begins = {word[0] for phrase in forbidden if (word := _WORD.search(phrase))}

    def cut(text: str) -> str:
        # Most texts hold not even the first word of an id.
        if begins.isdisjoint(_WORD.findall(shadow(plain(text)).text.casefold())):
            return text
        return without_identifiers(text, forbidden)

    return cut
