"""BatchingEmbedder: single texts of callers that come together travel in one request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder, TextsRefused, notes_of
from cloud_service.embedding.batcher import Batcher
from shared.bundle import EmbedderIdentity

MOST_TEXTS = 32
WAIT_S = 0.002


class BatchingEmbedder:
    """An Embedder that gathers calls with one text; others, and all else, go through as they are.

    Every request costs an embedding server some milliseconds beside the model itself. A text that
    has no vector fails for its own caller alone.

    Args:
        inner: closed with this one.
        most: texts in one request.
        wait_s: seconds that a text waits at most for others, while requests are under way.
    """

    def __init__(self, inner: Embedder, *, most: int = MOST_TEXTS, wait_s: float = WAIT_S):
        self._inner = inner
        self._texts: Batcher[str, NDArray[np.float32] | TextsRefused] = Batcher(
            self._embed, most=most, wait_s=wait_s
        )

    @property
    def identity(self) -> EmbedderIdentity:
        return self._inner.identity

    @property
    def notes(self) -> tuple[str, ...]:
        return notes_of(self._inner)

    async def ready(self) -> None:
        await self._inner.ready()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) != 1:
            return await self._inner.embed(texts)
        found = await self._texts.value(texts[0])
        if isinstance(found, TextsRefused):
            raise found
        return found[None]

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _embed(self, texts: Sequence[str]) -> list[NDArray[np.float32] | TextsRefused]:
        try:
            return list(await self._inner.embed(texts))
        except TextsRefused as error:
            return [
                TextsRefused({0: error.refused[place]}, row[None])
                if place in error.refused
                else row
                for place, row in enumerate(error.vectors)
            ]
