"""The stages that embed texts: of the items, and of the abstracts that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

import cloud_service.embedding
from cloud_service.embedding.base import Embedder, model_content
from cloud_service.embedding.batcher import Batcher
from cloud_service.settings import EmbedderSettings
from device_runtime.abstract.name_hiding import NameHider
from device_runtime.abstract.sanitise import clean_text
from device_runtime.abstract.words import ItemWords
from device_runtime.abstract.writer import TemplateAbstract, moment_in_words
from device_runtime.state.history import Window
from shared.abstract_form import AbstractForm
from shared.bundle import EmbedderIdentity
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.progress import Progress
from training.semantic.anchors import Anchors, write_abstracts
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.texts import embed_texts
from training.stages.code import code_of
from training.stages.forms import MATRIX
from training.stages.stage import Stage

Vectors = NDArray[np.float32]
EMBEDDING = (embed_texts, EmbeddingCache, cloud_service.embedding, Batcher)
WRITING = (
    *(write_abstracts, TemplateAbstract, Window, ItemWords, moment_in_words, NameHider, clean_text),
)


@dataclass(frozen=True)
class TextEmbedding:
    """An embedder, how long a text it gets, and the cache of what it answered.

    Attributes:
        model: hash over the model's files, where it is known by nothing but its folder's name.
        batch_size: texts in a request.
    """

    embedder: Embedder
    cache: EmbeddingCache
    max_tokens: int
    model: str | None
    batch_size: int

    @classmethod
    def of(cls, wanted: EmbedderSettings, embedder: Embedder, cache: EmbeddingCache) -> Self:
        """As the settings ask."""
        return cls(
            embedder=embedder,
            cache=cache,
            max_tokens=wanted.max_tokens,
            model=model_content(wanted.model),
            batch_size=wanted.batch_size,
        )

    @property
    def decides(self) -> tuple[EmbedderIdentity, str | None, int]:
        """What vectors depend on, beside the text and the code."""
        return self.embedder.identity, self.model, self.max_tokens

    async def vectors(self, texts: Sequence[str], label: str, progress: Progress) -> Vectors:
        """[n, m]; errors as of ``embed_texts``."""
        code = code_of([cloud_service.embedding])
        return await embed_texts(
            self.embedder,
            texts,
            self.cache,
            batch_size=self.batch_size,
            progress=progress,
            label=label,
            # What an embedder's code made once is no answer of other code.
            variant=f"max_tokens={self.max_tokens} model={self.model} code={code}",
        )


def items_stage(texts: Sequence[str], embedding: TextEmbedding) -> Stage[Vectors]:
    """[I, m] embeddings of the items' texts."""

    async def build(progress: Progress) -> Vectors:
        return await embedding.vectors(texts, "embedding items", progress)

    return Stage(
        name="items",
        options=embedding.decides,
        inputs={"texts": texts},
        code=(items_stage, *EMBEDDING),
        build=build,
        form=MATRIX,
    )


def abstracts_stage(
    log: InteractionLog,
    anchors: Anchors,
    form: AbstractForm,
    profile: DeviceProfile,
    embedding: TextEmbedding,
) -> Stage[Vectors]:
    """[A, m] embeddings of what a device would send at every anchor.

    Args:
        log: all that writers may read, see ``told_to_writers``.
    """

    async def build(progress: Progress) -> Vectors:
        texts = write_abstracts(log, anchors, TemplateAbstract(log.catalogue, form), profile)
        return await embedding.vectors(texts, "embedding abstracts", progress)

    return Stage(
        name="abstracts",
        options=(embedding.decides, form, profile.model_dump(include={"window", "retain"})),
        inputs={"log": log, "anchors": anchors},
        code=(abstracts_stage, *EMBEDDING, *WRITING),
        build=build,
        form=MATRIX,
    )
