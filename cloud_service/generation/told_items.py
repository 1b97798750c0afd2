"""ToldItems: the items that a device's tokens name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.item_tokens import ItemTokens


class ToldItems:
    """Token sequence -> item of one bundle."""

    def __init__(self, tokens: ItemTokens) -> None:
        self._item = {tuple(codes): item for item, codes in enumerate(tokens.codes.tolist())}

    def read(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """[L] items, in the order given; raises ValueError naming the first unknown sequence."""
        found = [self._item.get(tuple(codes), -1) for codes in sequences]
        if -1 in found:
            raise ValueError(f"item_tokens[{found.index(-1)}] names no item of the served bundle")
        return np.array(found, dtype=np.int64)
