"""RequestTerms: what a device adds to the structural score of an item, from what it alone knows.

Structure and these terms together are the device's *own* score, which no snapshot and no age of one
changes:

    own(i) = s_str(i) + a log(1 + c n_i) + b <e_text, v'_i>.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Digest
from device_runtime.models import DeviceModels
from device_runtime.state.history import RequestContext
from device_runtime.state.item_sets import add_at
from device_runtime.state.item_vectors import semantic_part
from device_runtime.state.own_counts import DecayedCounts

Items = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RequestTerms:
    """The terms of one request.

    Attributes:
        items: [m] int32 own items, ascending.
        bonus: [m] float32 a log(1 + c n_i) of them; all other items have none.
        e_text: [d] what the text student makes of the device's words; None without one.
        query: [d] b e_text, by which all items are scored; None where b is 0.
    """

    items: Items
    bonus: Floats
    e_text: Floats | None = None
    query: Floats | None = None

    def add_to(self, scores: Floats, items: Items, rows: Floats) -> None:
        """Add the terms of ``items`` [n], ascending, of rows [n, k * d] to their scores [n]."""
        if self.query is None:
            add_at(scores, items, self.items, self.bonus)
            return
        said = semantic_part(rows, len(self.query)) @ self.query
        add_at(said, items, self.items, self.bonus)
        scores += said


class OwnState:
    """What one device keeps for its own terms; nothing where the bundle has none.

    Args:
        models: of the device.
        digest: of its history, of no event yet; observed here. Needed by the text student alone.

    Raises:
        ValueError: the bundle has a text student, but there is no digest for it to read.
    """

    def __init__(self, models: DeviceModels, digest: Digest | None = None) -> None:
        profile, manifest = models.profile, models.manifest
        window = profile.window if profile.retain == "window" else None
        self._counted, self._told = manifest.own_counts, manifest.text_student
        self._counts: DecayedCounts | None = None
        if self._counted is not None and self._counted.weight > 0.0:
            self._counts = DecayedCounts(self._counted.half_life, window)
        self._digest = None if self._told is None else digest
        self._student = None
        # A digest cannot forget: where events are forgotten, those left are counted anew.
        self._left: deque[tuple[int, float]] | None = None
        if window is not None:
            self._left = deque(maxlen=window)
        if self._told is not None:
            if digest is None:
                raise ValueError(
                    f"bundle {models.bundle_id} has a text student, which reads a digest of the "
                    "device's history; pass digest=writer.digest()"
                )
            self._student = models.text_student(digest.words)

    @property
    def adds(self) -> bool:
        """Whether there are any terms."""
        return self._counts is not None or self._student is not None

    @property
    def digest(self) -> Digest | None:
        """Of all events observed; None where none is kept, or only of those not yet forgotten."""
        return self._digest if self._left is None else None

    def observe(self, item: int | None, hour_of_week: float) -> None:
        """Take in the user's newest event; ``item`` None if it is unknown to the bundle."""
        if self._counts is not None:
            self._counts.observe(item)
        if self._digest is None or item is None:
            return
        if self._left is None:
            self._digest.observe(item, hour_of_week)
        else:
            self._left.append((item, hour_of_week))

    def terms(self, context: RequestContext) -> RequestTerms | None:
        """At a request; None where the own score is the structural one."""
        if not self.adds:
            return None
        items, bonus = np.empty(0, np.int32), np.empty(0, np.float32)
        if self._counts is not None and self._counted is not None:
            items, counts = self._counts.now()
            added = self._counted.weight * np.log1p(self._counted.scale * counts)
            bonus = added.astype(np.float32)
        if self._student is None or self._digest is None or self._told is None:
            return RequestTerms(items=items, bonus=bonus)
        digest = self._digest
        if self._left is not None:
            digest = digest.anew()
            for event in self._left:
                digest.observe(*event)
        e_text = self._student.embed(digest.sections(context))
        query = np.float32(self._told.weight) * e_text if self._told.weight > 0.0 else None
        return RequestTerms(items=items, bonus=bonus, e_text=e_text, query=query)
