"""Counts of what was seen, and the few that lead them, kept up to date event by event."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Leaders(Generic[K]):
    """The ``most`` keys seen most often; among equal counts the one seen last comes first.

    Exact at O(most) a sighting, however many keys there are: counts only grow, and whoever is
    seen becomes the newest of its count, so the new leaders are among the old ones and the key
    that was seen.

    Attributes:
        counts: times each key was seen.
        first: the leaders, best first; to be read only.
    """

    __slots__ = ("_most", "counts", "first")

    def __init__(self, most: int) -> None:
        self._most = most
        self.counts: dict[K, int] = {}
        self.first: list[K] = []

    def see(self, key: K) -> None:
        """Count ``key`` once more."""
        counts, first = self.counts, self.first
        count = counts[key] = counts.get(key, 0) + 1
        if key in first:
            place = first.index(key)
            del first[place]
        else:
            place = len(first)
        while place and counts[first[place - 1]] <= count:
            place -= 1
        if place < self._most:
            first.insert(place, key)
            del first[self._most :]

    def repeated(self) -> list[K]:
        """The leaders that were seen more than once, best first."""
        return [key for key in self.first if self.counts[key] > 1]

    @property
    def repeats(self) -> bool:
        """Whether any key was seen more than once (False where nobody may lead)."""
        return bool(self.first) and self.counts[self.first[0]] > 1
