"""Text embeddings of items and abstracts, and their reduction to item vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from shared.errors import EmbedderMismatch
from shared.progress import NullProgress, Progress, Task
from training.semantic.embedding_cache import EmbeddingCache, cache_key

Float32 = NDArray[np.float32]
NOISE = 0.01  # of the length of a reduced vector


async def embed_texts(
    embedder: Embedder,
    texts: Sequence[str],
    cache: EmbeddingCache,
    *,
    batch_size: int = 64,
    concurrency: int = 4,
    progress: Progress | None = None,
    label: str = "embedding texts",
    variant: str = "",
) -> Float32:
    """Embeddings [n, m] of ``texts`` [n], in their order.

    Equal texts are embedded once, cached ones not at all. Up to ``concurrency`` batches are in
    flight; each is committed to the cache as it arrives, so whatever ends the call (an error, a
    cancellation), the finished batches need not be computed again.

    Raises:
        EmbedderUnavailable, EmbedderMismatch: from the embedder, or because it answered with
            vectors of another shape, zeros or values that are not finite.
        ConfigError: the cache cannot be written.
    """
    await embedder.ready()
    identity = embedder.identity
    keys = [cache_key(identity, text, variant) for text in texts]
    text_of = dict(zip(keys, texts, strict=True))
    vectors = cache.get_many(list(text_of), identity.dim)
    # Texts of similar length share a batch: back ends that pad then pad little.
    missing = sorted(text_of.keys() - vectors.keys(), key=lambda key: (len(text_of[key]), key))
    batches = iter([missing[i : i + batch_size] for i in range(0, len(missing), batch_size)])

    async def work(task: Task) -> None:
        for batch in batches:  # shared by all workers: each takes the next one
            found = await embedder.embed([text_of[key] for key in batch])
            _check(found, len(batch), identity.dim)
            cache.put_many(batch, found)
            vectors.update(zip(batch, found, strict=True))
            task.advance(len(batch))

    with (progress or NullProgress()).task(label, len(text_of)) as task:
        if vectors:
            task.advance(len(vectors), f"{len(vectors)} from the cache")
        await _gather_or_cancel([work(task) for _ in range(concurrency)])
    if not keys:
        return np.empty((0, identity.dim), dtype=np.float32)
    stacked: Float32 = np.stack([vectors[key] for key in keys]).astype(np.float32, copy=False)
    return stacked


async def _gather_or_cancel(work: Sequence[object]) -> None:
    """Run all; the first error cancels the rest, waits for them and is raised as it is."""
    tasks = [asyncio.ensure_future(w) for w in work]  # type: ignore[call-overload]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check(vectors: Float32, count: int, dim: int) -> None:
    if vectors.shape != (count, dim):
        raise EmbedderMismatch(
            f"the embedder answered {count} texts with an array of shape {vectors.shape}, "
            f"expected {(count, dim)}; check that the server runs the configured model"
        )
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise EmbedderMismatch("the embedder answered with zero vectors or values not finite")


def reduce_vectors(text: Float32, dim: int, seed: int = 0) -> Float32:
    """PCA of item text embeddings [I, m] to [I, dim]: the offline reduction behind v_i.

    Components are scaled together so that vectors have length 1 in the mean square, as random
    initialisation would give. Items without any distinguishing text, and dimensions beyond the
    data's rank, get small seeded noise, so that no two items start as the same point.

    Raises:
        ValueError: ``text`` is not a matrix of finite values.
    """
    if text.ndim != 2 or not np.isfinite(text).all():
        raise ValueError("item text embeddings must be a matrix of finite values")
    centred = text.astype(np.float64) - text.mean(axis=0, dtype=np.float64)
    _, basis = np.linalg.eigh(centred.T @ centred)  # ascending eigenvalues
    basis = basis[:, ::-1][:, :dim]
    # An eigenvector's sign is arbitrary; fixing it makes the result independent of the library.
    strongest = np.abs(basis).argmax(axis=0)
    basis = basis * np.where(basis[strongest, np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    reduced = np.zeros((len(text), dim))
    reduced[:, : basis.shape[1]] = centred @ basis
    scale = np.sqrt((reduced**2).sum(axis=1).mean())
    if scale > 0:
        reduced /= scale
    noise = np.random.default_rng(seed).standard_normal(reduced.shape) / np.sqrt(dim)
    separated: Float32 = (reduced + NOISE * noise).astype(np.float32)
    return separated
