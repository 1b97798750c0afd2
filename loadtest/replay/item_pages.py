"""ItemPages: the shop's side of a simulation, which knows every item of the bundle."""

from __future__ import annotations

import numpy as np

from device_runtime.state.item_vectors import ItemPage
from shared.bundle import Bundle
from shared.item_files import packed_items


class ItemPages:
    """What a user's device reads off the page of an item when the user consumes it.

    Args:
        bundle: whose float32 arrays, which a device without an item table never downloads, are
            packed as the cloud packs them into snapshots.

    Attributes:
        packed: of all items.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.packed = packed_items(bundle)

    def page(self, item: int) -> ItemPage | None:
        """The page of ``item``; None for items that the bundle does not hold."""
        if not 0 <= item < len(self.packed):
            return None
        return ItemPage(self.packed.take(np.array([item])))
