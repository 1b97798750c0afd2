"""Generator: the seam to a recommender that writes items instead of searching for them; and
ToldItems, the items it writes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.item_tokens import ItemTokens


class Generator(Protocol):
    """A generative recommender over the bundle's items."""

    async def ready(self) -> None:
        """Return when it can answer. Raises GeneratorUnavailable."""

    async def candidates(
        self, history: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The items held likeliest to follow, best first, and their log-probabilities.

        Args:
            history: [L] item indices, oldest first, L >= 1.

        Returns:
            items [N] int32, all different, and scores [N] float32.

        Raises:
            GeneratorUnavailable: it cannot be loaded, or failed.
        """

    async def aclose(self) -> None:
        """Release everything; it is not used afterwards."""


class ToldItems:
    """The items that a device's tokens name: token sequence -> item of one bundle."""

    def __init__(self, tokens: ItemTokens) -> None:
        self._item = {tuple(codes): item for item, codes in enumerate(tokens.codes.tolist())}

    def read(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """[L] items, in the order given; raises ValueError naming the first unknown sequence."""
        found = [self._item.get(tuple(codes), -1) for codes in sequences]
        if -1 in found:
            raise ValueError(f"item_tokens[{found.index(-1)}] names no item of the served bundle")
        return np.array(found, dtype=np.int64)
