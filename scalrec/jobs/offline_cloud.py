"""The cloud's parts without its network: snapshots of any age for controlled experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from cloud_service.retrieval.making import candidate_index
from cloud_service.settings import CloudSettings
from cloud_service.user_model import UserModel
from device_runtime.abstract.writer import TemplateAbstract
from scalrec.settings import Settings
from shared.abstract_form import AbstractForm
from shared.bundle import Bundle, EmbedderIdentity
from shared.errors import EmbedderUnavailable
from shared.fixed_texts import TEXTS, FixedTexts, read_fixed_texts
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.semantic.anchors import Anchors, write_abstracts_yielding
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.recognition import recognise
from training.stages.embedding import TextEmbedding

Points = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class AbstractVectors:
    """Abstracts at some (user, tau) points and their text embeddings, in the points' order."""

    points: list[tuple[int, int]]
    texts: list[str]
    vectors: NDArray[np.float32]  # [n, m]


class OfflineCloud:
    """A SnapshotSource made of the cloud's own projector and retrieval.

    Args:
        abstracts: embeddings of every point that will be asked for.
        cloud: how many candidates there are, and how they are retrieved.

    Raises:
        ConfigError: as ``candidate_index`` does.
    """

    def __init__(
        self, bundle: Bundle, embedder: Embedder, abstracts: AbstractVectors, cloud: CloudSettings
    ) -> None:
        user_model = UserModel(bundle, embedder)
        projected = user_model.project(abstracts.vectors)
        self._e_sem: dict[tuple[int, int], NDArray[np.float32]] = dict(
            zip(abstracts.points, projected, strict=True)
        )
        self._index, _ = candidate_index(
            bundle.semantic_vectors(), cloud, user_model.fixed_embeddings()
        )
        self._candidates = cloud.candidates

    def e_sem(self, user: int, tau: int) -> NDArray[np.float32]:
        return self._e_sem[user, tau]

    def candidates(
        self, e_sem: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        items, scores = self._index.search(e_sem[None], self._candidates)
        return items[0], scores[0]


class PrecomputedEmbedder:
    """An Embedder that knows its texts beforehand, for replays under the virtual clock.

    Nothing real can be awaited there: every abstract a replay can send is embedded before.

    Args:
        fixed: texts that the cloud measures its embedder by.
    """

    def __init__(
        self, identity: EmbedderIdentity, abstracts: AbstractVectors, fixed: FixedTexts
    ) -> None:
        self._identity = identity
        self._vectors = dict(zip(fixed.texts, fixed.vectors, strict=True))
        self._vectors |= dict(zip(abstracts.texts, abstracts.vectors, strict=True))

    @property
    def identity(self) -> EmbedderIdentity:
        return self._identity

    async def ready(self) -> None:
        """Always ready."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        try:
            return np.stack([self._vectors[text] for text in texts])
        except KeyError as error:
            raise EmbedderUnavailable("an abstract was not embedded before the replay") from error

    async def aclose(self) -> None:
        """Nothing to close."""


async def embed_abstracts(
    settings: Settings,
    log: InteractionLog,
    embedder: Embedder,
    points: Points,
    *,
    form: AbstractForm,
    label: str,
    progress: Progress,
) -> AbstractVectors:
    """Write and embed what a device would have sent at each (user, tau), in the bundle's form;
    cached on disk."""
    distinct = sorted(set(points))
    users, taus = np.array(distinct, dtype=np.int64).reshape(-1, 2).T
    writer = TemplateAbstract(log.catalogue, form)
    texts = await write_abstracts_yielding(log, Anchors(users, taus), writer, settings.profile)
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        await recognise(embedder, cache)
        embedding = TextEmbedding.of(settings.embedder, embedder, cache)
        vectors = await embedding.vectors(texts, label, progress)
    return AbstractVectors(distinct, texts, vectors)


async def fixed_texts_of(
    settings: Settings, bundle: Bundle, embedder: Embedder, progress: Progress
) -> FixedTexts:
    """What ``embedder`` makes of the texts that a cloud with ``bundle`` measures it by; cached."""
    kept = read_fixed_texts(bundle)
    texts = TEXTS if kept is None else kept.texts
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        await recognise(embedder, cache)
        embedding = TextEmbedding.of(settings.embedder, embedder, cache)
        return FixedTexts(texts, await embedding.vectors(texts, "embedding fixed texts", progress))
