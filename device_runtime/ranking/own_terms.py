"""OwnTerms: what a device adds to the structural score of an item, from what it alone knows.

Structure and these terms together are the device's *own* score, which no snapshot and no age of one
changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.models import DeviceModels
from device_runtime.state.own_counts import DecayedCounts

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class OwnTerms:
    """The terms of one request.

    Attributes:
        items: [m] int32 own items, ascending.
        bonus: [m] float32 a log(1 + c n_i) of them; all other items have none.
    """

    items: Items
    bonus: Floats

    def of(self, items: Items) -> Floats:
        """[n] what is added to the scores of ``items`` [n]."""
        if len(self.items) == 0:
            return np.zeros(len(items), np.float32)
        place = np.searchsorted(self.items, items)
        place[place == len(self.items)] = 0
        added: Floats = np.where(self.items[place] == items, self.bonus[place], np.float32(0.0))
        return added


class OwnState:
    """What one device keeps for its own terms; nothing where the bundle has none.

    Args:
        models: of the device.
    """

    def __init__(self, models: DeviceModels) -> None:
        profile, spec = models.profile, models.manifest.own_counts
        self._spec = spec
        self._counts: DecayedCounts | None = None
        if spec is not None and spec.weight > 0.0:
            window = profile.window if profile.retain == "window" else None
            self._counts = DecayedCounts(spec.half_life, window)

    def observe(self, item: int | None) -> None:
        """Take in the user's newest event; None if its item is unknown to the bundle."""
        if self._counts is not None:
            self._counts.observe(item)

    def terms(self) -> OwnTerms | None:
        """At the next request; None: the own score is the structural one."""
        if self._counts is None or self._spec is None:
            return None
        items, counts = self._counts.now()
        bonus = self._spec.weight * np.log1p(self._spec.scale * counts)
        return OwnTerms(items, bonus.astype(np.float32))
