"""Generator: the seam to a recommender that writes items instead of searching for them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
