"""Which model a server holds, found by what it makes of fixed texts rather than by its name.

A model whose folder is at hand is known by a hash over its files. A server of somebody else may
hold another model today than yesterday, under the same name: vectors that are kept from yesterday
are then of another space. So it embeds the fixed texts before anything kept is used, and is the
model of before only where it gives the same vectors.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder, TextsRefused
from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderMismatch
from shared.fixed_texts import TEXTS, FixedTexts, difference
from training.semantic.embedding_cache import EmbeddingCache


def known_by_files(identity: EmbedderIdentity) -> bool:
    """Its identity says all; nothing needs to be measured."""
    return identity.content is not None or identity.backend == "hashing"


def name_of(identity: EmbedderIdentity) -> str:
    """What a model without files at hand says of itself."""
    texts = hashlib.sha256("\0".join(TEXTS).encode()).hexdigest()[:16]
    return f"{identity.model} {identity.pooling} {identity.dim} {texts}"


async def recognise(embedder: Embedder, cache: EmbeddingCache) -> str | None:
    """The id of the model behind ``embedder``, also noted in ``cache.recognised``.

    None: its identity says all. A model that ``cache`` has not seen yet gets a new id, so that
    neither vectors nor stages of another one are reused.

    Raises:
        EmbedderError: from the embedder.
        ConfigError: the cache cannot be written.
    """
    await embedder.ready()
    identity = embedder.identity
    if known_by_files(identity):
        return None
    name = name_of(identity)
    if name in cache.recognised:
        return cache.recognised[name]
    try:
        vectors = await embedder.embed(TEXTS)
    except TextsRefused as error:
        vectors = error.vectors  # zeros where there is none
    if np.count_nonzero(vectors.any(axis=1)) <= len(TEXTS) // 2:
        raise EmbedderMismatch(f"the model {identity.model} gives no vector for most fixed texts")
    found = np.ascontiguousarray(vectors, dtype="<f4")
    for model_id, blob in cache.models(name):
        if len(blob) == found.nbytes and _same(np.frombuffer(blob, "<f4"), found):
            cache.recognised[name] = model_id
            return model_id
    new = hashlib.sha256(name.encode() + found.tobytes()).hexdigest()[:16]
    cache.add_model(name, new, found.tobytes())
    cache.recognised[name] = new
    return new


def _same(kept: NDArray[np.float32], found: NDArray[np.float32]) -> bool:
    kept = kept.reshape(found.shape)
    usable: NDArray[np.bool_] = np.asarray(found.any(axis=1))
    if not np.array_equal(usable, kept.any(axis=1)) or not np.isfinite(kept).all():
        return False
    texts = tuple(text for text, use in zip(TEXTS, usable, strict=True) if use)
    fixed = FixedTexts(texts, kept[usable])
    return difference(texts, fixed.cosines(found[usable])) is None
