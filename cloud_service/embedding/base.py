"""Embedder: the seam to whatever turns text into vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderMismatch, EmbedderUnavailable

_MODEL_FILES = frozenset({".safetensors", ".bin", ".json", ".txt", ".model"})


class Embedder(Protocol):
    """Turns texts into L2-normalised vectors; the same one embeds the log and serves devices."""

    @property
    def identity(self) -> EmbedderIdentity:
        """Model, pooling and dimension. Raises EmbedderUnavailable before ``ready`` succeeded."""

    async def ready(self) -> None:
        """Return when the back end answers; learns its dimension. Cheap once it succeeded.

        Raises:
            EmbedderUnavailable: it does not answer; may be tried again later.
            EmbedderMismatch: it answers, but serves another model or unusable vectors.
        """

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of n texts: [n, m] float32, rows of length 1, in the order of the texts.

        Raises:
            EmbedderUnavailable: the back end does not answer.
            EmbedderMismatch: wrong count or dimension, NaN or zero vectors.
        """

    async def aclose(self) -> None:
        """Release connections, threads and memory."""


def model_name(model: str) -> str:
    """The name a manifest keeps for a model: a folder's own name, not where it happens to lie."""
    path = Path(model)
    return path.name if path.is_absolute() or path.is_dir() else model


def model_content(model: str) -> str | None:
    """Hash over the files of a model that lies in a folder; None for one that goes by a name.

    Two folders may have one name. Weights, configuration and tokenizer count, other files do not.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    files = [path for path in folder.iterdir() if path.suffix in _MODEL_FILES and path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + _file_hash(path, path.stat().st_mtime_ns))
    return digest.hexdigest()[:16]


@cache  # weights are read once, not for every key that they are part of
def _file_hash(path: Path, modified: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def require_identity(identity: EmbedderIdentity | None) -> EmbedderIdentity:
    """The identity, or EmbedderUnavailable when it is not known yet."""
    if identity is None:
        raise EmbedderUnavailable("the embedder has not answered yet; wait for ready()")
    return identity


def normalised(
    vectors: NDArray[np.float32], *, count: int, dim: int | None = None
) -> NDArray[np.float32]:
    """Rows scaled to length 1, after checking that they are usable.

    Args:
        vectors: what the back end returned, meant to be [count, dim].
        count: texts that were sent.
        dim: the dimension known so far; None accepts any.

    Raises:
        EmbedderMismatch: another shape, values that are not finite, or a zero vector.
    """
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise EmbedderMismatch(f"embedder answered shape {vectors.shape} to {count} texts")
    if dim is not None and vectors.shape[1] != dim:
        raise EmbedderMismatch(f"embedder answered {vectors.shape[1]} dimensions, not {dim}")
    if not np.isfinite(vectors).all():
        raise EmbedderMismatch("embedder answered values that are not finite")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.all(norms > 0):
        raise EmbedderMismatch("embedder answered a zero vector")
    unit: NDArray[np.float32] = (vectors / norms).astype(np.float32)
    return unit
