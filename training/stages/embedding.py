"""TextEmbedding: what turns texts into vectors, and all that those depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

import cloud_service.embedding
from cloud_service.embedding.base import Embedder
from cloud_service.embedding.batcher import Batcher
from cloud_service.settings import EmbedderSettings
from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderUnavailable
from shared.progress import Progress
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.recognition import known_by_files, name_of
from training.semantic.texts import NameOf, embed_texts
from training.stages.code import code_of

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class TextEmbedding:
    """An embedder, how long a text it gets, and the cache of what it answered.

    Attributes:
        model: which model of that name it is, where its identity does not tell: see
            ``training.semantic.recognition``.
        batch_size: texts in a request.
    """

    embedder: Embedder
    cache: EmbeddingCache
    max_tokens: int
    model: str | None
    batch_size: int

    @classmethod
    def of(cls, wanted: EmbedderSettings, embedder: Embedder, cache: EmbeddingCache) -> Self:
        """As the settings ask.

        Raises:
            EmbedderUnavailable: nobody asked yet which model it is.
        """
        identity = embedder.identity
        model = cache.recognised.get(name_of(identity))
        if model is None and not known_by_files(identity):
            raise EmbedderUnavailable(f"the model {identity.model} has not been recognised yet")
        return cls(
            embedder=embedder,
            cache=cache,
            max_tokens=wanted.max_tokens,
            model=model,
            batch_size=wanted.batch_size,
        )

    @property
    def decides(self) -> tuple[EmbedderIdentity, str | None, int]:
        """What vectors depend on, beside the text and the code."""
        return self.embedder.identity, self.model, self.max_tokens

    async def vectors(
        self,
        texts: Sequence[str],
        label: str,
        progress: Progress,
        name: NameOf = "text {}".format,
    ) -> Vectors:
        """[n, m]; ``name`` and errors as of ``embed_texts``."""
        code = code_of([cloud_service.embedding])
        return await embed_texts(
            self.embedder,
            texts,
            self.cache,
            batch_size=self.batch_size,
            progress=progress,
            label=label,
            # The code is in the key: vectors that older code made must not be reused.
            variant=f"max_tokens={self.max_tokens} model={self.model} code={code}",
            name=name,
        )


# Code of what embeds texts, see ``Stage.code``.
EMBEDDING = (TextEmbedding, embed_texts, EmbeddingCache, cloud_service.embedding, Batcher)
