"""Embedder: the seam to whatever turns text into vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderMismatch, EmbedderUnavailable

_MODEL_FILES = frozenset({".safetensors", ".bin", ".json", ".txt", ".model", ".gguf"})
_UNSAID = frozenset({"transformers_version", "_name_or_path"})


class Embedder(Protocol):
    """Turns texts into L2-normalised vectors; the same one embeds the log and serves devices."""

    @property
    def identity(self) -> EmbedderIdentity:
        """Model, pooling, dimension and, where they are at hand, a hash over the model's files.

        Raises EmbedderUnavailable before ``ready`` succeeded.
        """

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
            EmbedderMismatch: wrong count or dimension, or nothing usable at all.
            TextsRefused: some texts have no usable vector; it carries those of the others.
        """

    async def aclose(self) -> None:
        """Release connections, threads and memory."""


class TextsRefused(EmbedderMismatch):
    """The model serves, but gives no usable vector for some of the texts.

    Args:
        refused: why, by position among the texts sent; never empty.
        vectors: [n, m] float32 of all texts, rows of length 1, zeros where one is refused.
    """

    def __init__(self, refused: Mapping[int, str], vectors: NDArray[np.float32]):
        first = min(refused)
        count = "the text" if len(vectors) == 1 else f"{len(refused)} of {len(vectors)} texts"
        super().__init__(f"the text model gives no usable vector for {count}: {refused[first]}")
        self.refused = dict(refused)
        self.vectors = vectors


def notes_of(embedder: object) -> tuple[str, ...]:
    """What people should know of the vectors an embedder gave so far, e.g. that texts were cut."""
    notes: tuple[str, ...] = getattr(embedder, "notes", ())
    return notes


def texts_at_once(embedder: object, batch_size: int) -> int:
    """Of many texts, how many one call should bring: as many as the embedder says, if it does."""
    wanted: int = getattr(embedder, "texts_at_once", batch_size)
    return wanted


def model_name(model: str) -> str:
    """The name a manifest keeps for a model: a folder's own name, not where it happens to lie."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or path.is_dir() else model


def model_content(model: str | Path) -> str | None:
    """Hash over the files of a model that lies in a folder; None for one that goes by a name.

    Two folders may have one name. Weights, configuration and tokenizer count, other files do not;
    nor does which release of a library wrote the configuration.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    try:
        files = [path for path in folder.rglob("*") if path.suffix in _MODEL_FILES]
        for path in sorted(path for path in files if path.is_file()):
            found = path.stat()
            name = path.relative_to(folder).as_posix()
            digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
            digest.update(_file_hash(path.absolute(), found.st_mtime_ns, found.st_size))
    except OSError as error:
        raise EmbedderUnavailable(f"cannot read the model in {folder}: {error}") from error
    return digest.hexdigest()[:16]


@cache  # weights are read once, not for every key that they are part of
def _file_hash(path: Path, modified: int, size: int) -> bytes:
    if path.name == "config.json":
        return hashlib.sha256(_plain_config(path.read_bytes())).digest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _plain_config(data: bytes) -> bytes:
    try:
        config = json.loads(data)
        said = {name: value for name, value in config.items() if name not in _UNSAID}
    except (ValueError, AttributeError, RecursionError):
        return data
    return json.dumps(said, sort_keys=True).encode()


def require_identity(identity: EmbedderIdentity | None) -> EmbedderIdentity:
    """The identity, or EmbedderUnavailable when it is not known yet."""
    if identity is None:
        raise EmbedderUnavailable("the embedder has not answered yet; wait for ready()")
    return identity


def normalised(
    vectors: NDArray[np.float32], *, count: int, dim: int | None = None
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Rows scaled to length 1, and why others (zeros) cannot be used, by position.

    Args:
        vectors: what the back end returned, meant to be [count, dim].
        count: texts that were sent.
        dim: the dimension known so far; None accepts any.

    Raises:
        EmbedderMismatch: another shape.
    """
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise EmbedderMismatch(f"embedder answered shape {vectors.shape} to {count} texts")
    if dim is not None and vectors.shape[1] != dim:
        raise EmbedderMismatch(f"embedder answered {vectors.shape[1]} dimensions, not {dim}")
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
    norms = np.linalg.norm(np.where(finite[:, None], vectors, 0).astype(np.float64), axis=1)
    refused = {
        int(row): "a zero vector" if finite[row] else "a vector of values that are not finite"
        for row in np.flatnonzero(norms == 0)
    }
    unit = np.zeros(vectors.shape, dtype=np.float32)
    usable = norms > 0
    unit[usable] = vectors[usable] / norms[usable, None]
    return unit, refused


def all_usable(vectors: NDArray[np.float32], refused: Mapping[int, str]) -> NDArray[np.float32]:
    """``vectors``, or TextsRefused where any text has none."""
    if refused:
        raise TextsRefused(refused, vectors)
    return vectors
