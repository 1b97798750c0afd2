"""ApartEmbedder: a request's query and the rest of its abstract, each with a vector of its own.

An abstract tells habits, latest events, the moment and, at its end, what the user asks. One mean
over all their tokens weighs a short query by its length. Told apart, a projector learns how much
each of them is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import (
    Embedder,
    TextsRefused,
    all_usable,
    normalised,
    notes_of,
)
from shared.abstract_form import ASKS
from shared.bundle import EmbedderIdentity


class ApartEmbedder:
    """Gives [rest, query], each half from ``inner`` and zero where a text has no such part.

    Args:
        inner: embeds the parts; it is closed with this one.
    """

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner

    @property
    def identity(self) -> EmbedderIdentity:
        """That of ``inner``, with twice its dimension; raises as ``inner`` does."""
        return apart(self._inner.identity)

    @property
    def notes(self) -> tuple[str, ...]:
        return notes_of(self._inner)

    async def ready(self) -> None:
        await self._inner.ready()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, 2 m], rows of length 1. A text is refused only where no part of it can be used."""
        halves = [split(text) for text in texts]
        place = [(row, side) for row, both in enumerate(halves) for side in (0, 1) if both[side]]
        refused: dict[int, str] = {}
        try:
            vectors = await self._inner.embed([halves[row][side] for row, side in place])
        except TextsRefused as error:
            vectors, refused = error.vectors, {place[n][0]: why for n, why in error.refused.items()}
        m = self._inner.identity.dim
        joined = np.zeros((len(texts), 2, m), dtype=np.float32)
        for (row, side), vector in zip(place, vectors, strict=True):
            joined[row, side] = vector
        unit, empty = normalised(joined.reshape(len(texts), 2 * m), count=len(texts), dim=2 * m)
        return all_usable(unit, {row: refused.get(row, why) for row, why in empty.items()})

    async def aclose(self) -> None:
        await self._inner.aclose()


def apart(identity: EmbedderIdentity) -> EmbedderIdentity:
    """Of the same model, asked for both parts of a text."""
    return identity.model_copy(
        update={"pooling": f"{identity.pooling}, query apart", "dim": 2 * identity.dim}
    )


def split(text: str) -> tuple[str, str]:
    """What an abstract says without its query, and the query; "" where there is none of it.

    A text without either word is no abstract, and is the first.
    """
    if text.startswith(ASKS):
        return "", text.removeprefix(ASKS)
    rest, found, query = text.partition(f" {ASKS}")
    return (rest, query) if found and query else (text, "")
