"""Pools: what devices may rank, many requests at once.

The batch form of ``device_runtime.ranking.candidates`` and ``.scoring``: which items a
device unites, which it may not recommend again, and what it fills a short list with. A device
that re-retrieves from a table ranks its best ``local_candidates`` items beside its pool (without a
snapshot ``SHORTLIST``). For as many places that is the ranking of the whole catalogue, which stands
for it here; metrics look at fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.item_files import by_popularity
from shared.metrics import Ranks, ranks_of
from shared.profile import SHORTLIST, DeviceProfile
from training.semantic.requests import Requests

Setting = Literal["device", "list", "catalogue"]
WANTED = 10  # items an answer should hold: a pool with fewer is filled up


@dataclass(frozen=True, eq=False)
class Pools:
    """B requests, and what a device at each of them knows.

    A pool is a mask [B, I] of items that may be ranked, barred ones perhaps among them; None
    stands for the whole catalogue.

    Attributes:
        profile: of the devices.
        vectors: [I, d] v'_i, what semantic embeddings are multiplied with.
        structural: [B, I] own scores of all items: structure and what goes beside it.
        target: [B] item that the user took.
        barred: [B, I] items that may not be recommended again; None where repeats are allowed.
        own: [B, I] retained own items whose vectors the device has; None where repeats are barred.
        starter: [S] items that came with the models, most popular first; none with a table.
    """

    profile: DeviceProfile
    vectors: Tensor
    structural: Tensor
    target: Tensor
    barred: Tensor | None
    own: Tensor | None
    starter: Tensor

    def take(self, places: NDArray[np.integer]) -> Pools:
        """The requests at ``places`` [P] of these."""
        at = torch.from_numpy(places)
        return replace(
            self,
            structural=self.structural[at],
            target=self.target[at],
            barred=None if self.barred is None else self.barred[at],
            own=None if self.own is None else self.own[at],
        )

    def listed(self, items: Tensor) -> Tensor:
        """The candidates [B, N] and nothing else: the paper's S1 and S2."""
        return torch.zeros(self.structural.shape, dtype=torch.bool).scatter_(1, items, True)

    def united(self, items: Tensor) -> Tensor:
        """Of a device that holds a snapshot with the candidates [B, N], without re-retrieval."""
        pool = self.listed(items)
        if self.profile.unite_history:
            pool[:, self.starter] = True
            if self.own is not None:
                pool |= self.own
        if self.barred is not None:
            pool &= ~self.barred
        short = pool.sum(1) < WANTED
        if short.any():
            pool[short] = self._filled(pool)[short]
        return pool

    def holding(self, items: Tensor) -> Tensor | None:
        """Of a device of the profile that holds a snapshot with the candidates [B, N]."""
        return None if self.profile.local_candidates else self.united(items)

    def alone(self) -> Tensor | None:
        """Of a device that holds no snapshot."""
        if self.profile.table != "none":
            return None
        pool = self._popular(SHORTLIST)
        return pool if self.own is None else pool | self.own

    def fused(self, weighted: Tensor) -> Tensor:
        """[B, I] own score + <w e_sem, v'_i> for weighted embeddings [B, d] (eqs. 4 and 14)."""
        return torch.addmm(self.structural, weighted, self.vectors.T)

    def ranks(self, scores: Tensor, among: Tensor | None = None) -> Ranks:
        """[B] rank of each target in a pool, by ``scores`` [B, I]."""
        allowed = among
        if self.barred is not None:
            allowed = ~self.barred if among is None else among & ~self.barred
        mask = None if allowed is None else allowed.numpy()
        return ranks_of(scores.numpy(), self.target.numpy(), mask)

    def _filled(self, pool: Tensor) -> Tensor:
        if self.profile.table != "none":
            return torch.ones_like(pool)
        return pool | self._popular(WANTED)

    def _popular(self, count: int) -> Tensor:
        """[B, I] the ``count`` most popular of the starter's items that are not barred."""
        pool = torch.zeros(self.structural.shape, dtype=torch.bool)
        free = torch.ones(len(pool), len(self.starter), dtype=torch.bool)
        if self.barred is not None:
            free = ~self.barred[:, self.starter]
        pool[:, self.starter] = free & (free.cumsum(1) <= count)
        return pool


@dataclass(frozen=True, eq=False)
class Ranked:
    """What devices rank of which snapshots, for requests that are ranked many times.

    Attributes:
        setting: device: what the profile really ranks; list: a snapshot's candidates and nothing
            else (the paper's S2; S1 with the fresh ones); catalogue: all items.
        candidates: [A, N] of the snapshot of each request's moment, best first.
        popularity: [I] training counts.
    """

    setting: Setting
    profile: DeviceProfile
    candidates: Tensor
    popularity: NDArray[np.floating]
    exclude_seen: bool

    def pool(
        self, requests: Requests, fresh: NDArray[np.int64], listed: NDArray[np.int64]
    ) -> Callable[[NDArray[np.int64], Tensor], Tensor] | None:
        """As ``HeldOut`` wants it; None for the whole catalogue.

        Args:
            fresh: [P] rows of ``requests``. listed: [P] those whose candidates each has.
        """
        whole = self.setting == "device" and self.profile.local_candidates
        if self.setting == "catalogue" or whole:
            return None
        list_of = np.zeros(len(requests), dtype=np.int64)
        list_of[fresh] = listed

        def among(rows: NDArray[np.int64], own: Tensor) -> Tensor:
            items = self.candidates[torch.from_numpy(list_of[rows])]
            if self.setting == "list":
                return torch.zeros(own.shape, dtype=torch.bool).scatter_(1, items, True)
            pools = make_pools(
                requests,
                rows,
                self.profile,
                self.popularity,
                exclude_seen=self.exclude_seen,
                structural=own,
            )
            return pools.united(items)

        return among


def make_pools(
    requests: Requests,
    rows: NDArray[np.integer],
    profile: DeviceProfile,
    popularity: NDArray[np.floating],
    *,
    exclude_seen: bool,
    structural: Tensor | None = None,
) -> Pools:
    """Pools of the requests at ``rows`` [B].

    Args:
        popularity: [I] training counts.
        exclude_seen: items that a user had may not be recommended again.
        structural: [B, I] own scores where they are at hand.
    """
    index = torch.from_numpy(rows)
    if structural is None:
        structural = requests.structural(index)
    starter = by_popularity(popularity)[: profile.starter_items if profile.table == "none" else 0]
    place, item = _retained(requests, index, profile)
    had = torch.zeros(structural.shape, dtype=torch.bool)
    had[place, item] = True
    own = had
    if profile.table == "none":
        known = torch.zeros(structural.shape[1], dtype=torch.bool)
        known[torch.from_numpy(starter).long()] = True
        own = had & known
        own[_last_used(place, item, profile.met_items)] = True
    return Pools(
        profile=profile,
        vectors=requests.semantics,
        structural=structural,
        target=requests.target[index],
        barred=had if exclude_seen else None,
        own=None if exclude_seen else own,
        starter=torch.from_numpy(starter).long(),
    )


def _retained(requests: Requests, index: Tensor, profile: DeviceProfile) -> tuple[Tensor, Tensor]:
    """(place within ``index``, item) of every event that the device keeps, oldest first."""
    place, item = requests.seen(index)
    if profile.retain == "window":
        stop = torch.bincount(place, minlength=len(index)).cumsum(0)
        kept = torch.arange(len(place)) >= stop[place] - profile.window
        place, item = place[kept], item[kept]
    return place, item


def _last_used(place: Tensor, item: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(place, item) of the ``count`` last used distinct items of each place."""
    newest = np.column_stack([place.numpy()[::-1], item.numpy()[::-1]])
    _, first = np.unique(newest, axis=0, return_index=True)
    newest = newest[np.sort(first)]  # places descend; in each the last used item comes first
    behind = np.arange(len(newest)) - np.searchsorted(-newest[:, 0], -newest[:, 0])
    found = torch.from_numpy(newest[behind < count])
    return found[:, 0], found[:, 1]
