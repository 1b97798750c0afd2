"""Events a device remembers, for tests of what it tells of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runtime.state.history import Window


def past(items: Sequence[int], hours: Sequence[float] | None = None) -> Window:
    """``items`` oldest first, an hour apart; ``hours`` are their local hours of week."""
    n = len(items)
    times = 1.2e9 - 3600.0 * np.arange(n, 0, -1)
    return Window(
        np.array(items, dtype=np.int32),
        times,
        np.zeros(n, dtype=np.float32) if hours is None else np.array(hours, dtype=np.float32),
    )
