"""ItemVectors: the items a device can score: all of them with an ItemTable, as float32 or as int8
with one scale per vector; without a table those it met.

A row is what is known of one item: the vector of the structural channel and, where the bundle's
items have one of their own for the semantic channel, that one behind it. ``structural_part`` and
``semantic_part`` take rows apart; of rows with a single vector both give the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.packed import PackedVectors, joined
from shared.snapshot import Snapshot

Items = NDArray[np.int32]
Floats = NDArray[np.float32]
BLOCK_ROWS = 1024  # unpacked at a time: 256 KiB at 64 dimensions, which stays in the L2 cache


class UnknownVector(LookupError):
    """An item was to be scored whose vector is not on the device."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemPage:
    """What the page of a consumed item tells the device about it: one packed row and bias."""

    packed: PackedVectors  # of length 1


def structural_part(rows: Floats, dim: int) -> Floats:
    """[n, d] vectors v_i of the structural channel in ``rows`` [n, k * d] (a view)."""
    return rows[:, :dim]


def semantic_part(rows: Floats, dim: int) -> Floats:
    """[n, d] vectors v'_i of the semantic channel in ``rows`` [n, k * d] (a view)."""
    return rows[:, -dim:]


class ItemVectors(Protocol):
    """Vectors and biases by item; nothing can be scored that is not in here."""

    def known(self, items: Items) -> NDArray[np.bool_]:
        """[n] which of ``items`` [n] (all within the catalogue) can be scored."""
        ...

    def of(self, items: Items) -> tuple[Floats, Floats]:
        """Rows [n, k * d] and biases [n] of known items; raises UnknownVector for others."""
        ...

    def meet(self, item: int, page: ItemPage | None) -> bool:
        """The user consumed ``item``; whether what is known changed by its page."""
        ...

    def offer(self, snapshot: Snapshot) -> None:
        """A snapshot came into force; what it carries replaces what the last one carried."""
        ...


class KnownItems:
    """Packed vectors of some distinct items, found by item.

    Args:
        items: [m] int32, distinct, in any order.
        packed: their vectors, in the same order.
    """

    __slots__ = ("_order", "_sorted", "packed")

    def __init__(self, items: Items, packed: PackedVectors) -> None:
        self._order = np.argsort(items, kind="stable").astype(np.int32)
        self._sorted = items[self._order]
        self.packed = packed

    @classmethod
    def none(cls, dim: int, vectors: int = 1) -> KnownItems:
        """No items, of so many vectors in ``dim`` dimensions."""
        empty = PackedVectors(
            np.empty((0, vectors * dim), np.int8),
            np.empty((0, vectors), np.float32),
            np.empty(0, np.float16),
        )
        return cls(np.empty(0, np.int32), empty)

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        return self.packed.nbytes + self._sorted.nbytes + self._order.nbytes

    def find(self, items: Items) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Rows of ``packed`` [n] for ``items`` [n], and which of them are there at all."""
        if len(self._sorted) == 0:
            return np.zeros(len(items), np.int32), np.zeros(len(items), np.bool_)
        place = np.searchsorted(self._sorted, items)
        place[place == len(self._sorted)] = 0
        return self._order[place], self._sorted[place] == items


class MetVectors:
    """The vectors of a device without an item table, in bounded memory.

    Known are the own items whose page brought a vector (the ``capacity`` last used ones), the
    candidates of the snapshot in force, and the popular items that came with the models.

    Args:
        capacity: own items kept; at least the encoder's window, whose items are then never lost.
        dim: d.
        starter: popular items, shared by all devices; None for none.
        vectors: k, vectors of each item.
    """

    def __init__(
        self, capacity: int, dim: int, starter: KnownItems | None = None, *, vectors: int = 1
    ) -> None:
        self._capacity, self._width = capacity, vectors * dim
        self._items = np.empty(0, np.int32)  # [m], last used last
        self._nothing = self._met = self._offered = KnownItems.none(dim, vectors)
        self._starter = starter or self._nothing

    def known(self, items: Items) -> NDArray[np.bool_]:
        found = self._met.find(items)[1] | self._offered.find(items)[1]
        result: NDArray[np.bool_] = found | self._starter.find(items)[1]
        return result

    def of(self, items: Items) -> tuple[Floats, Floats]:
        rows = np.empty((len(items), self._width), np.float32)
        bias = np.empty(len(items), np.float32)
        missing = np.ones(len(items), np.bool_)
        for source in (self._offered, self._met, self._starter):
            row, found = source.find(items)
            at = np.flatnonzero(found & missing)
            if len(at):
                rows[at], bias[at] = source.packed.take(row[at]).unpack()
                missing[at] = False
        if missing.any():
            raise UnknownVector(f"no vector of items {items[missing].tolist()[:5]} on this device")
        return rows, bias

    def meet(self, item: int, page: ItemPage | None) -> bool:
        held = self._items == item
        if held.any():
            if self._items[-1] != item:
                order = np.append(np.flatnonzero(~held), np.flatnonzero(held))
                self._keep(self._items[order], self._met.packed.take(order))
            return False
        if page is None:
            return False
        packed = self._met.packed
        kept = np.arange(max(0, len(packed) + 1 - self._capacity), len(packed))
        try:
            grown = joined([packed.take(kept), page.packed])
        except ValueError as error:
            raise ValueError(
                f"the page of item {item} is not of this device's bundle: {error}"
            ) from error
        self._keep(np.append(self._items[kept], np.int32(item)), grown)
        return True

    def offer(self, snapshot: Snapshot) -> None:
        if snapshot.vectors is None:
            self._offered = self._nothing
            return
        items, first = np.unique(snapshot.items, return_index=True)
        packed = snapshot.vectors
        # Views of the snapshot unless it repeats items, so that nothing is held twice.
        if len(items) == len(snapshot.items):
            self._offered = KnownItems(snapshot.items, packed)
        else:
            self._offered = KnownItems(items, packed.take(first))

    def _keep(self, items: Items, packed: PackedVectors) -> None:
        self._items, self._met = items, KnownItems(items, packed)


class ItemTable(ItemVectors, Protocol):
    """Knows every item of the catalogue.

    Attributes:
        bias: [I] float32.
    """

    bias: Floats

    def __len__(self) -> int:
        """I."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        ...

    def products(self, structural: Floats | None = None, semantic: Floats | None = None) -> Floats:
        """[I] <structural, v_i> + <semantic, v'_i> for queries [d], of which one may be None.

        Items with a single vector are gone through once, by the sum of both queries.
        """
        ...


def _one_query(structural: Floats | None, semantic: Floats | None) -> Floats:
    """The query [d] that asks a single vector for both channels."""
    if structural is None or semantic is None:
        query = semantic if structural is None else structural
        if query is None:
            raise ValueError("no query was given: neither a structural nor a semantic one")
        return query
    return structural + semantic


class _Complete:
    """What pages and snapshots say is known here already."""

    bias: Floats

    def __len__(self) -> int:
        return len(self.bias)

    def known(self, items: Items) -> NDArray[np.bool_]:
        return np.ones(len(items), np.bool_)

    def meet(self, item: int, page: ItemPage | None) -> bool:
        return False

    def offer(self, snapshot: Snapshot) -> None:
        """Nothing to learn."""


class Float32Table(_Complete):
    """Vectors as they were trained.

    Args:
        vectors: [I, d] float32. bias: [I] float32.
        semantic: [I, d] of the semantic channel; None where ``vectors`` serve both.
    """

    def __init__(self, vectors: Floats, bias: Floats, semantic: Floats | None = None) -> None:
        self._dim, self._apart = vectors.shape[1], semantic is not None
        # One after the other in memory: an item's row is then read at once, and so is the table.
        self._rows = vectors if semantic is None else np.concatenate([vectors, semantic], axis=1)
        self.bias = bias

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes + self.bias.nbytes

    def of(self, items: Items) -> tuple[Floats, Floats]:
        return self._rows.take(items, axis=0), self.bias.take(items)

    def products(self, structural: Floats | None = None, semantic: Floats | None = None) -> Floats:
        result: Floats
        if not self._apart:
            result = self._rows @ _one_query(structural, semantic)
        elif structural is not None and semantic is not None:
            result = self._rows @ np.concatenate([structural, semantic])
        elif structural is not None:
            result = structural_part(self._rows, self._dim) @ structural
        else:
            result = semantic_part(self._rows, self._dim) @ _one_query(None, semantic)
        return result


class Int8Table(_Complete):
    """Quantised vectors, unpacked a block at a time: a float32 copy would cost four times more.

    Args:
        packed: of all items.
    """

    def __init__(self, packed: PackedVectors) -> None:
        self._packed = packed
        self.bias = packed.bias.astype(np.float32)

    @property
    def nbytes(self) -> int:
        return self._packed.nbytes + self.bias.nbytes

    def of(self, items: Items) -> tuple[Floats, Floats]:
        return self._packed.take(items).unpack()[0], self.bias.take(items)

    def products(self, structural: Floats | None = None, semantic: Floats | None = None) -> Floats:
        if self._packed.vectors == 1:
            return self._product(0, _one_query(structural, semantic))
        asked = [(j, q) for j, q in enumerate((structural, semantic)) if q is not None]
        if not asked:
            return self._product(0, _one_query(structural, semantic))
        result = self._product(*asked[0])
        for place, query in asked[1:]:
            result += self._product(place, query)
        return result

    def _product(self, place: int, query: Floats) -> Floats:
        """[I] products of the vectors at ``place`` in the rows with a query [d]."""
        dim = self._packed.dim
        codes = self._packed.codes[:, place * dim : (place + 1) * dim]
        result = np.empty(len(codes), np.float32)
        block = np.empty((min(BLOCK_ROWS, len(codes)), dim), np.float32)
        for start in range(0, len(codes), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            rows = block[: len(codes[part])]
            rows[...] = codes[part]
            np.dot(rows, query, out=result[part])
        result *= self._packed.scale[:, place]
        return result
