"""HashingEmbedder: vectors from word n-grams alone, without a model. For tests and dry runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import all_usable, normalised
from shared.bundle import EmbedderIdentity
from shared.errors import ConfigError

_WORD = re.compile(r"\w+")
_NAME = re.compile(r"^hashing(?:-(\d{1,4}))?$")
DEFAULT_DIM = 256


class HashingEmbedder:
    """Feature hashing (Weinberger et al., 2009) of words and word pairs with dense random signs.

    Every n-gram adds a vector of signs drawn from its SHAKE-128 digest, so texts that share words
    lie close. Deterministic across processes and machines; never a zero vector.

    Args:
        dim: m, the dimension.
    """

    def __init__(self, dim: int = DEFAULT_DIM):
        self.identity = EmbedderIdentity(
            backend="hashing", model=f"hashing-{dim}", pooling="MEAN", dim=dim
        )

    async def ready(self) -> None:
        """Nothing to wait for."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        dim = self.identity.dim
        rows = [_embed_one(text, dim) for text in texts]
        vectors = np.stack(rows) if rows else np.zeros((0, dim), dtype=np.float32)
        return all_usable(*normalised(vectors, count=len(texts), dim=dim))

    async def aclose(self) -> None:
        """Nothing to release."""


def hashing_dim(model: str) -> int:
    """The dimension in ``hashing-<dim>``; DEFAULT_DIM for ``hashing``. Raises ConfigError."""
    match = _NAME.match(model)
    if match is None or (match[1] is not None and int(match[1]) == 0):
        raise ConfigError(
            f"embedder.model {model!r} is not one of the hashing back end; "
            f"use hashing (= hashing-{DEFAULT_DIM}) or hashing-<dimension>"
        )
    return int(match[1] or DEFAULT_DIM)


def _embed_one(text: str, dim: int) -> NDArray[np.float32]:
    words = _WORD.findall(text.lower())
    # The empty n-gram gives a text without words a vector of its own.
    grams = ["", *words, *(f"{a} {b}" for a, b in pairwise(words))]
    total = np.zeros(dim, dtype=np.float32)
    for gram in grams:
        # The empty n-gram weighs little: it must not make unrelated texts alike.
        total += _signs(gram, dim) * np.float32(1.0 if gram else 0.1)
    # Signs of several n-grams can cancel in all places of a small dim.
    return total if np.any(total) else _signs(text, dim)


def _signs(gram: str, dim: int) -> NDArray[np.float32]:
    digest = hashlib.shake_128(gram.encode()).digest((dim + 7) // 8)
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))[:dim]
    return bits.astype(np.float32) * 2 - 1
