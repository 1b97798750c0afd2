"""TextStudent: e_text, the user's semantic embedding as the device itself makes it of words.

It reads the sections of the abstract that the device would write, needs no cloud and is never
stale. Words do not leave the device for it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Sections
from device_runtime.abstract.words import ItemWords
from device_runtime.student.features import Part, StudentFeatures, uncached
from shared.text_student import StudentWeights

PARTS_KEPT = 8192  # some 400 bytes each


class TextStudent:
    """The student of a bundle; one serves all devices of a process, from any thread.

    e_text is a sum over parts of an abstract, so each part's own sum is kept while it is in use: an
    ordinary request adds up about twenty vectors, however many words they stand for.

    Args:
        weights: of the bundle.
        words: of the bundle's items, at its privacy level.
        kept: parts remembered, the last used ones.
    """

    def __init__(
        self, weights: StudentWeights, words: ItemWords, *, kept: int = PARTS_KEPT
    ) -> None:
        self._weights = weights
        self._features = StudentFeatures(words, len(weights.codes))
        self._kept = lru_cache(maxsize=kept)(self._sum)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights; remembered parts come beside them."""
        return self._weights.nbytes

    def embed(self, sections: Sections) -> NDArray[np.float32]:
        """[d] e_text; the bias alone where nothing is known of the user."""
        total, squared = np.zeros(self._weights.dim, dtype=np.float32), 0.0
        for part in self._features.parts(sections):
            vector, square = self._sum(part) if uncached(part) else self._kept(part)
            total += vector
            squared += square
        if squared:
            total *= self._weights.out_scale / math.sqrt(squared)
        total += self._weights.bias
        return total

    def _sum(self, part: Part) -> tuple[NDArray[np.float32], float]:
        """[d] weighted sum of a part's rows, and the sum of its squared weights."""
        rows, weights = self._features.tokens(part)
        return self._weights.sum(rows, weights), float(weights @ weights)
