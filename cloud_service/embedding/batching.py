"""BatchingEmbedder: single texts of callers that come together travel in one request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from cloud_service.embedding.batcher import Batcher
from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderError

MOST_TEXTS = 32
WAIT_S = 0.002


class BatchingEmbedder:
    """An Embedder that gathers calls with one text; others, and all else, go through as they are.

    Every request costs an embedding server some milliseconds beside the model itself. A request
    that fails is repeated text by text, so that no caller suffers from another's text.

    Args:
        inner: closed with this one.
        most: texts in one request.
        wait_s: seconds that a text waits at most for others, while requests are under way.
    """

    def __init__(self, inner: Embedder, *, most: int = MOST_TEXTS, wait_s: float = WAIT_S):
        self._inner = inner
        self._texts: Batcher[str, NDArray[np.float32]] = Batcher(
            self._embed, most=most, wait_s=wait_s, alone_on=(EmbedderError,)
        )

    @property
    def identity(self) -> EmbedderIdentity:
        return self._inner.identity

    async def ready(self) -> None:
        await self._inner.ready()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) != 1:
            return await self._inner.embed(texts)
        return (await self._texts.value(texts[0]))[None]

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _embed(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return list(await self._inner.embed(texts))
