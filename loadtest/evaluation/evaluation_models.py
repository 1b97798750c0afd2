"""EvaluationModels: a device's models where every item is known, for controlled experiments."""

from __future__ import annotations

import numpy as np

from device_runtime.models import DeviceModels, read_array
from device_runtime.state.item_vectors import Int8Table, ItemTable
from shared.bundle import Bundle
from shared.item_files import packed_items


class EvaluationModels(DeviceModels):
    """What DeviceModels are, and a table of all items whatever the profile.

    A device without a table scores an item it has met exactly as this table does: page, snapshot
    and table hold the same packed vectors.

    Attributes:
        table: never None.
        all_items: [I] int32, 0 .. I-1.
        item_popularity: [I] float32 training counts.
    """

    table: ItemTable

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        if self.profile.table == "none":
            self.table = Int8Table(packed_items(bundle))
        self.all_items = np.arange(self.n_items, dtype=np.int32)
        self.item_popularity = read_array(bundle, "item_popularity.npy", (self.n_items,))
