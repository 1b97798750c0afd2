"""Text embeddings of items and abstracts, and their reduction to item vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder, TextsRefused, texts_at_once
from shared.errors import EmbedderMismatch
from shared.progress import NullProgress, Progress, Task
from training.semantic.embedding_cache import EmbeddingCache, cache_key

Float32 = NDArray[np.float32]
NOISE = 0.01  # of the length of a reduced vector
MOST_REFUSED = 0.01  # share of texts without a vector, beyond one, that training puts up with
_UNIT = 1e-4  # how far from 1 the length of a text's own vector may be
_NAMED = 3
NameOf = Callable[[int], str]


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
    name: NameOf = "text {}".format,
) -> Float32:
    """Embeddings [n, m] of ``texts`` [n], in their order.

    Equal texts are embedded once, cached ones not at all. Up to ``concurrency`` batches are in
    flight; each is committed to the cache as it arrives, so whatever ends the call (an error, a
    cancellation), the finished batches need not be computed again.

    A text that the model gives no vector gets the mean of the others, which says nothing of it; it
    is not kept, and ``refused_rows`` finds it.

    Args:
        batch_size: texts in one call, where the embedder does not ask for more.
        name: what people call the text at a position, for errors.

    Raises:
        EmbedderUnavailable, EmbedderMismatch: from the embedder, or because it answered with
            vectors of another shape, zeros or values that are not finite, or gave no vector for
            more than one text and more than MOST_REFUSED of them.
        ConfigError: the cache cannot be written.
    """
    await embedder.ready()
    identity = embedder.identity
    keys = [cache_key(identity, text, variant) for text in texts]
    text_of = dict(zip(keys, texts, strict=True))
    vectors = cache.get_many(list(text_of), identity.dim)
    # Texts of similar length share a batch: back ends that pad then pad little.
    missing = sorted(text_of.keys() - vectors.keys(), key=lambda key: (len(text_of[key]), key))
    refused: dict[bytes, str] = {}
    size = texts_at_once(embedder, batch_size)
    batches = iter([missing[i : i + size] for i in range(0, len(missing), size)])

    async def work(task: Task) -> None:
        for batch in batches:  # shared by all workers: each takes the next one
            try:
                found = await embedder.embed([text_of[key] for key in batch])
            except TextsRefused as error:
                refused.update((batch[place], why) for place, why in error.refused.items())
                found = np.delete(error.vectors, list(error.refused), axis=0)
            kept = [key for key in batch if key not in refused]
            _check(found, len(kept), identity.dim)
            cache.put_many(kept, found)
            vectors.update(zip(kept, found, strict=True))
            task.advance(len(batch))

    with (progress or NullProgress()).task(label, len(text_of)) as task:
        if vectors:
            task.advance(len(vectors), f"{len(vectors)} from the cache")
        await _gather_or_cancel([work(task) for _ in range(concurrency)])
    if refused:
        _require_few(refused, len(text_of), {name(i): key for i, key in enumerate(keys)})
        neutral = np.mean([vectors[key] for key in text_of if key in vectors], axis=0)
        vectors.update((key, neutral.astype(np.float32)) for key in refused)
    if not keys:
        return np.empty((0, identity.dim), dtype=np.float32)
    stacked: Float32 = np.stack([vectors[key] for key in keys]).astype(np.float32, copy=False)
    return stacked


def refused_rows(vectors: Float32) -> NDArray[np.intp]:
    """Rows of [n, m] embeddings that are the mean of others: their texts have no vector."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return np.flatnonzero(np.abs(lengths - 1) > _UNIT)


def refusal_note(vectors: Float32, what: str, name: NameOf) -> str:
    """What people should know of texts without a vector; "" where each has one."""
    rows = refused_rows(vectors)
    if not len(rows):
        return ""
    names = ", ".join(name(int(row)) for row in rows[:_NAMED])
    return (
        f"the text model gives no vector for {len(rows)} of {len(vectors)} {what} ({names}"
        f"{', ...' if len(rows) > _NAMED else ''}): the mean of the others stands in"
    )


def _require_few(refused: Mapping[bytes, str], count: int, names: Mapping[str, bytes]) -> None:
    if len(refused) <= max(1, MOST_REFUSED * count) and len(refused) < count:
        return
    named = [f"{name} ({refused[key]})" for name, key in names.items() if key in refused]
    raise EmbedderMismatch(
        f"the text model gives no vector for {len(refused)} of {count} texts: "
        f"{'; '.join(named[:_NAMED])}{'; ...' if len(named) > _NAMED else ''}. Change those texts, "
        "or serve a model that takes them"
    )


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


def reduce_vectors(
    text: Float32, dim: int, seed: int = 0, *, fitted_on: Float32 | None = None
) -> Float32:
    """PCA of item text embeddings [I, m] to [I, dim]: the offline reduction behind v_i.

    Components are scaled together so that vectors have length 1 in the mean square, as random
    initialisation would give. Items without any distinguishing text, and dimensions beyond the
    data's rank, get small seeded noise, so that no two items start as the same point.

    Args:
        fitted_on: [K, m] the embeddings that mean, components and scale are of; None: ``text``.

    Raises:
        ValueError: ``text`` is not a matrix of finite values.
    """
    if text.ndim != 2 or not np.isfinite(text).all():
        raise ValueError("item text embeddings must be a matrix of finite values")
    known = text if fitted_on is None else fitted_on
    mean = known.mean(axis=0, dtype=np.float64)
    fitted, centred = known.astype(np.float64) - mean, text.astype(np.float64) - mean
    _, basis = np.linalg.eigh(fitted.T @ fitted)  # ascending eigenvalues
    basis = basis[:, ::-1][:, :dim]
    # An eigenvector's sign is arbitrary; fixing it makes the result independent of the library.
    strongest = np.abs(basis).argmax(axis=0)
    basis = basis * np.where(basis[strongest, np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    reduced = np.zeros((len(text), dim))
    reduced[:, : basis.shape[1]] = centred @ basis
    scale = np.sqrt(((fitted @ basis) ** 2).sum(axis=1).mean())
    if scale > 0:
        reduced /= scale
    noise = np.random.default_rng(seed).standard_normal(reduced.shape) / np.sqrt(dim)
    separated: Float32 = (reduced + NOISE * noise).astype(np.float32)
    return separated
