"""The counters any recommender must beat: popularity, personal and decayed frequency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.metrics import NOT_RANKED, RANK, Rank, rank_of


@dataclass(frozen=True, slots=True)
class CounterRanks:
    """Rank of one target among all I items, not ranked if it may not be recommended."""

    popularity: Rank
    frequency: Rank
    decayed: Rank


class KeptRanks:
    """Many CounterRanks in order, as 36 bytes each: a long replay has a million."""

    def __init__(self, ranks: Iterable[CounterRanks], count: int) -> None:
        rows = ((each.popularity, each.frequency, each.decayed) for each in ranks)
        columns = np.dtype([(field.name, RANK) for field in fields(CounterRanks)])
        self._ranks = np.fromiter(rows, columns, count)

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[CounterRanks]:
        for row in self._ranks:
            yield CounterRanks(*(Rank(*rank) for rank in row.item()))


class Counters:
    """Ranks the full catalogue by counting alone.

    - popularity: events of the item in training, the same list for everybody;
    - frequency: how often this user had the item;
    - decayed: the same, an event ``half_life`` events ago counting half as much as the latest.

    The personal counters do not back off to popularity: all items a user never had tie.

    Args:
        popularity: [I] training counts.
        half_life: of the decayed counter, in events of the user.
    """

    def __init__(self, popularity: ArrayLike, half_life: float) -> None:
        if not half_life > 0:
            raise ValueError(f"half-life must be positive, not {half_life}")
        self._popularity: NDArray[np.float64] = np.asarray(popularity, dtype=np.float64)
        self._ordered = np.sort(self._popularity)
        self.half_life = half_life

    def ranks(
        self, history_items: NDArray[np.integer], target: int, *, exclude_seen: bool
    ) -> CounterRanks:
        """Ranks of ``target`` for a user who had ``history_items`` [n], oldest first.

        Args:
            exclude_seen: items the user had compete no more. A target among them could not be
                recommended by anyone, so it is not ranked, as it is not by the device.

        Cost: O(n log n), whatever the size of the catalogue.
        """
        n, n_items = len(history_items), len(self._popularity)
        seen, place, counts = np.unique(history_items, return_inverse=True, return_counts=True)
        if exclude_seen:
            if np.any(seen == target):
                return CounterRanks(NOT_RANKED, NOT_RANKED, NOT_RANKED)
            unseen = _tied(0, n_items - len(seen))
            return CounterRanks(self._popularity_rank(target, seen), unseen, unseen)
        age = np.arange(n - 1, -1, -1, dtype=np.float64)
        decayed: NDArray[np.float64] = np.bincount(
            place, weights=np.exp2(-age / self.half_life), minlength=len(seen)
        ).astype(np.float64)
        return CounterRanks(
            self._popularity_rank(target, seen[:0]),
            _personal_rank(seen, counts.astype(np.float64), target, n_items),
            _personal_rank(seen, decayed, target, n_items),
        )

    def _popularity_rank(self, target: int, removed: NDArray[np.integer]) -> Rank:
        own = self._popularity[target]
        gone = self._popularity[removed]
        not_above = int(np.searchsorted(self._ordered, own, side="right"))
        above = len(self._ordered) - not_above - int(np.count_nonzero(gone > own))
        equal = not_above - int(np.searchsorted(self._ordered, own, side="left"))
        return _tied(above, equal - int(np.count_nonzero(gone == own)))


def _tied(above: int, tied: int) -> Rank:
    return Rank(above + (tied + 1) / 2.0, tied)


def _personal_rank(
    seen: NDArray[np.integer], scores: NDArray[np.float64], target: int, n_items: int
) -> Rank:
    """Rank where the ``seen`` items have positive ``scores`` and all others zero."""
    mine = seen == target
    if not mine.any():
        return _tied(len(seen), n_items - len(seen))
    return rank_of(scores, int(mine.argmax()))
