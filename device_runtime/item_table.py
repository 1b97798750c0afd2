"""ItemTable: vectors of all items, as float32 or as int8 with one scale per item."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device_runtime.item_vectors import ItemPage, ItemVectors
from shared.packed import PackedVectors
from shared.snapshot import Snapshot

Items = NDArray[np.int32]
Floats = NDArray[np.float32]

BLOCK_ROWS = 1024  # unpacked at a time: 256 KiB at 64 dimensions, which stays in the L2 cache


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
