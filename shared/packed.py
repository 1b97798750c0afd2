"""PackedVectors: item vectors and biases in few bytes, the same ones wherever they travel.

Item table, snapshot and item page of a device all hold what ``pack`` makes of the bundle's float32
arrays, so that a score does not depend on which way a vector came.

An item has one vector for both channels, or one for the structure and one of its own for the
semantics: a *row* is then both of them, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 127  # of int8 on either side of zero; -128 is not used
MOST_VECTORS = 2  # of an item: for the structure and for the semantics

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PackedVectors:
    """Rows of n items, k vectors of d each, quantised symmetrically with one scale per vector.

    Attributes:
        codes: [n, k * d] int8; vector j of item i is ``codes[i, j*d : (j+1)*d] * scale[i, j]``.
        scale: [n, k] float32, >= 0.
        bias: [n] float16 item biases.
    """

    codes: NDArray[np.int8]
    scale: Floats
    bias: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def vectors(self) -> int:
        """k, vectors of each item."""
        return int(self.scale.shape[1])

    @property
    def dim(self) -> int:
        """d, numbers of each vector."""
        return int(self.codes.shape[1]) // self.vectors

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.codes.nbytes + self.scale.nbytes + self.bias.nbytes

    def take(self, rows: NDArray[np.integer]) -> PackedVectors:
        """Copies of the given rows."""
        return PackedVectors(
            self.codes.take(rows, axis=0), self.scale.take(rows, axis=0), self.bias.take(rows)
        )

    def unpack(self) -> tuple[Floats, Floats]:
        """Rows [n, k * d] and biases [n] as float32."""
        bias = self.bias.astype(np.float32)
        if self.vectors == 1:
            return self.codes * self.scale, bias
        apart = self.codes.reshape(len(self), self.vectors, self.dim) * self.scale[:, :, None]
        return apart.reshape(self.codes.shape), bias

    def check(self) -> None:
        """Raise ValueError unless scales and biases are usable numbers."""
        if not (np.isfinite(self.scale).all() and np.isfinite(self.bias).all()):
            raise ValueError("scales or biases are not finite")
        if (self.scale < 0).any():
            raise ValueError("a scale is negative")


def pack(vectors: Floats, bias: Floats, semantic: Floats | None = None) -> PackedVectors:
    """Quantise finite vectors [n, d] and biases [n].

    A component is off by half a scale at most, that is 1/254 of the vector's largest one; a bias by
    2^-11 of itself (beyond 65,504 it is cut).

    Args:
        semantic: [n, d] of the semantic channel; None where ``vectors`` serve both channels.
    """
    apart = [_quantised(part) for part in (vectors, semantic) if part is not None]
    most = float(np.finfo(np.float16).max)
    return PackedVectors(
        np.concatenate([codes for codes, _ in apart], axis=1),
        np.stack([scale for _, scale in apart], axis=1),
        np.clip(bias, -most, most).astype(np.float16),
    )


def joined(packed: Sequence[PackedVectors]) -> PackedVectors:
    """The rows of all, one after another; raises ValueError unless all are of the same k * d."""
    shapes = {(part.vectors, part.dim) for part in packed}
    if len(shapes) > 1:
        raise ValueError(f"rows of different vectors cannot be joined: (k, d) of {sorted(shapes)}")
    return PackedVectors(
        np.concatenate([part.codes for part in packed]),
        np.concatenate([part.scale for part in packed]),
        np.concatenate([part.bias for part in packed]),
    )


def row_bytes(dim: int, vectors: int) -> int:
    """Bytes of one item's row: its codes, a float32 scale for each vector and a float16 bias."""
    return vectors * (dim + 4) + 2


def _quantised(vectors: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Codes [n, d] and scales [n]."""
    scale = (np.abs(vectors).max(axis=1, initial=0.0) / LEVELS).astype(np.float32)
    steps = vectors / np.where(scale > 0, scale, np.float32(1.0))[:, None]
    return np.clip(np.rint(steps), -LEVELS, LEVELS).astype(np.int8), scale
