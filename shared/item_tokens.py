"""ItemTokens: every item as a short sequence of codes, by which a generative model names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError


@dataclass(frozen=True, eq=False)
class ItemTokens:
    """Codes of I items over T places; items that share a beginning resemble each other.

    Attributes:
        codes: [I, T] int32, each place counting from 0; no two items have equal rows.
        sizes: [T] number of codes that a place may hold.

    Raises:
        DataError: two items share all their codes, or a code is out of its place's range.
    """

    codes: NDArray[np.int32]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        codes = self.codes
        if codes.ndim != 2 or not len(codes) or codes.shape[1] != len(self.sizes):
            raise DataError(
                f"item tokens have shape {codes.shape}, expected items x {len(self.sizes)}"
            )
        if codes.min() < 0 or np.any(codes.max(axis=0) >= np.array(self.sizes)):
            raise DataError(f"item tokens lie outside their ranges {self.sizes}")
        if len(np.unique(codes, axis=0)) != len(codes):
            raise DataError("two items have the same tokens")

    def __len__(self) -> int:
        return len(self.codes)

    def similar(self, items: Sequence[int] | NDArray[np.integer]) -> tuple[NDArray[np.int64], ...]:
        """For each of ``items`` the other items that differ from it in the last code alone.

        They are the ones a generative model confuses it with (LSC4Rec, equation 5).
        """
        _, group = np.unique(self.codes[:, :-1], axis=0, return_inverse=True)
        group = group.reshape(-1)
        order = np.argsort(group, kind="stable")
        start = np.searchsorted(group[order], np.arange(group.max() + 2))
        found = (order[start[group[item]] : start[group[item] + 1]] for item in items)
        return tuple(
            members[members != item].astype(np.int64)
            for item, members in zip(items, found, strict=True)
        )
