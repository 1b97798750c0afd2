"""TextStudent: e_text, the user's semantic embedding as the device itself makes it of words.

It reads the sections of the abstract that the device would write, needs no cloud and is never
stale. Words do not leave the device for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Sections
from device_runtime.abstract.words import ItemWords
from device_runtime.student.features import Part, StudentFeatures, uncached
from shared.text_student import StudentWeights

PARTS_KEPT = 8192  # some 400 bytes each


class _Kept:
    """Sums of parts; only ever added to, so that others may read it meanwhile.

    Args:
        room: parts there is room for. dim: d.
    """

    __slots__ = ("place", "squares", "vectors")

    def __init__(self, room: int, dim: int) -> None:
        self.place: dict[Part, int] = {}
        self.vectors = np.empty((room, dim), dtype=np.float32)
        self.squares = np.empty(room, dtype=np.float64)

    def room_for(self, parts: Sequence[Part]) -> bool:
        return len(self.place) + len(parts) <= len(self.vectors)


class TextStudent:
    """The student of a bundle; one serves all devices of a process, from any thread.

    e_text is a sum over parts of an abstract, so each part's own sum is kept: an ordinary request
    adds up some thirty vectors, however many words they stand for.

    Args:
        weights: of the bundle.
        words: of the bundle's items, at its privacy level.
        kept: parts remembered; once there are more, all are forgotten but those in use.
    """

    def __init__(
        self, weights: StudentWeights, words: ItemWords, *, kept: int = PARTS_KEPT
    ) -> None:
        self._weights = weights
        self._features = StudentFeatures(words, len(weights.codes))
        self._room, self._adding = kept, Lock()
        self._kept = _Kept(kept, weights.dim)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights; remembered parts come beside them."""
        return self._weights.nbytes

    def embed(self, sections: Sections) -> NDArray[np.float32]:
        """[d] e_text; the bias alone where nothing is known of the user."""
        parts = self._features.parts(sections)
        # What a user types stands last; all else is likely to have been summed up before.
        typed = parts.pop() if parts and uncached(parts[-1]) else None
        kept = self._kept
        try:
            places = [kept.place[part] for part in parts]
        except KeyError:
            kept = self._remember(parts)
            places = [kept.place[part] for part in parts]
        total = np.add.reduce(kept.vectors.take(places, axis=0), axis=0)
        squared = float(np.add.reduce(kept.squares.take(places)))
        if typed is not None:
            vector, square = self._sum(typed)
            total += vector
            squared += square
        if squared:
            total *= self._weights.out_scale / math.sqrt(squared)
        total += self._weights.bias
        found: NDArray[np.float32] = total
        return found

    def _remember(self, parts: Sequence[Part]) -> _Kept:
        """What is kept, all of ``parts`` in it."""
        with self._adding:
            kept = self._kept
            if not kept.room_for(parts):
                kept = _Kept(max(self._room, len(parts)), self._weights.dim)
            for part in parts:
                if part not in kept.place:
                    place = len(kept.place)
                    kept.vectors[place], kept.squares[place] = self._sum(part)
                    kept.place[part] = place  # last: whoever finds it finds its sum
            self._kept = kept
            return kept

    def _sum(self, part: Part) -> tuple[NDArray[np.float32], float]:
        """[d] weighted sum of a part's rows, and the sum of its squared weights."""
        rows, weights = self._features.tokens(part)
        return self._weights.sum(rows, weights), float(weights @ weights)
