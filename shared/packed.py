"""PackedVectors: item vectors and biases in few bytes, the same ones wherever they travel.

Item table, snapshot and item page of a device all hold what ``pack`` makes of the bundle's float32
arrays, so that a score does not depend on which way a vector came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 127  # of int8 on either side of zero; -128 is not used
BYTES_BESIDE_CODES = 4 + 2  # a float32 scale and a float16 bias

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PackedVectors:
    """n vectors, quantised symmetrically with one scale each.

    Attributes:
        codes: [n, d] int8; vector i is ``codes[i] * scale[i]``.
        scale: [n] float32, >= 0.
        bias: [n] float16 item biases.
    """

    codes: NDArray[np.int8]
    scale: Floats
    bias: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.codes.nbytes + self.scale.nbytes + self.bias.nbytes

    def take(self, rows: NDArray[np.integer]) -> PackedVectors:
        """Copies of the given rows."""
        return PackedVectors(
            self.codes.take(rows, axis=0), self.scale.take(rows), self.bias.take(rows)
        )

    def unpack(self) -> tuple[Floats, Floats]:
        """Vectors [n, d] and biases [n] as float32."""
        return self.codes * self.scale[:, None], self.bias.astype(np.float32)

    def check(self) -> None:
        """Raise ValueError unless scales and biases are usable numbers."""
        if not (np.isfinite(self.scale).all() and np.isfinite(self.bias).all()):
            raise ValueError("scales or biases are not finite")
        if (self.scale < 0).any():
            raise ValueError("a scale is negative")


def pack(vectors: Floats, bias: Floats) -> PackedVectors:
    """Quantise finite vectors [n, d] and biases [n].

    A component is off by half a scale at most, that is 1/254 of the vector's largest one; a bias by
    2^-11 of itself (beyond 65,504 it is cut).
    """
    scale = (np.abs(vectors).max(axis=1, initial=0.0) / LEVELS).astype(np.float32)
    steps = vectors / np.where(scale > 0, scale, np.float32(1.0))[:, None]
    codes = np.clip(np.rint(steps), -LEVELS, LEVELS).astype(np.int8)
    most = float(np.finfo(np.float16).max)
    return PackedVectors(codes, scale, np.clip(bias, -most, most).astype(np.float16))
