"""ItemVectors: the items a device can score: all of them with an ItemTable, as float32 or as int8
with one scale per item; without a table those it met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.packed import PackedVectors
from shared.snapshot import Snapshot

Items = NDArray[np.int32]
Floats = NDArray[np.float32]
BLOCK_ROWS = 1024  # unpacked at a time: 256 KiB at 64 dimensions, which stays in the L2 cache


class UnknownVector(LookupError):
    """An item was to be scored whose vector is not on the device."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemPage:
    """What the page of a consumed item tells the device about it: one packed vector and bias."""

    packed: PackedVectors  # of length 1


class ItemVectors(Protocol):
    """Vectors and biases by item; nothing can be scored that is not in here."""

    def known(self, items: Items) -> NDArray[np.bool_]:
        """[n] which of ``items`` [n] (all within the catalogue) can be scored."""
        ...

    def of(self, items: Items) -> tuple[Floats, Floats]:
        """Vectors [n, d] and biases [n] of known items; raises UnknownVector for others."""
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
    def none(cls, dim: int) -> KnownItems:
        """No items, in ``dim`` dimensions."""
        empty = PackedVectors(
            np.empty((0, dim), np.int8), np.empty(0, np.float32), np.empty(0, np.float16)
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
    """

    def __init__(self, capacity: int, dim: int, starter: KnownItems | None = None) -> None:
        self._capacity, self._dim = capacity, dim
        self._items = np.empty(0, np.int32)  # [m], last used last
        self._met = self._offered = KnownItems.none(dim)
        self._starter = starter or self._met

    def known(self, items: Items) -> NDArray[np.bool_]:
        found = self._met.find(items)[1] | self._offered.find(items)[1]
        result: NDArray[np.bool_] = found | self._starter.find(items)[1]
        return result

    def of(self, items: Items) -> tuple[Floats, Floats]:
        vectors = np.empty((len(items), self._dim), np.float32)
        bias = np.empty(len(items), np.float32)
        missing = np.ones(len(items), np.bool_)
        for source in (self._offered, self._met, self._starter):
            row, found = source.find(items)
            at = np.flatnonzero(found & missing)
            if len(at):
                vectors[at], bias[at] = source.packed.take(row[at]).unpack()
                missing[at] = False
        if missing.any():
            raise UnknownVector(f"no vector of items {items[missing].tolist()[:5]} on this device")
        return vectors, bias

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
        kept = slice(max(0, len(packed) + 1 - self._capacity), None)
        new = page.packed
        self._keep(
            np.append(self._items[kept], np.int32(item)),
            PackedVectors(
                np.concatenate([packed.codes[kept], new.codes]),
                np.concatenate([packed.scale[kept], new.scale]),
                np.concatenate([packed.bias[kept], new.bias]),
            ),
        )
        return True

    def offer(self, snapshot: Snapshot) -> None:
        if snapshot.vectors is None:
            self._offered = KnownItems.none(self._dim)
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

    def products(self, query: Floats) -> Floats:
        """[I] <query, v_i> for a query [d]."""
        ...


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
    """

    def __init__(self, vectors: Floats, bias: Floats) -> None:
        self.vectors, self.bias = vectors, bias

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + self.bias.nbytes

    def of(self, items: Items) -> tuple[Floats, Floats]:
        return self.vectors.take(items, axis=0), self.bias.take(items)

    def products(self, query: Floats) -> Floats:
        result: Floats = self.vectors @ query
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
        codes, scale = self._packed.codes.take(items, axis=0), self._packed.scale.take(items)
        return codes * scale[:, None], self.bias.take(items)

    def products(self, query: Floats) -> Floats:
        codes = self._packed.codes
        result = np.empty(len(codes), np.float32)
        block = np.empty((min(BLOCK_ROWS, len(codes)), codes.shape[1]), np.float32)
        for start in range(0, len(codes), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            rows = block[: len(codes[part])]
            rows[...] = codes[part]
            np.dot(rows, query, out=result[part])
        result *= self._packed.scale
        return result
