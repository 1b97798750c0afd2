"""A text alone, as the cloud embeds it, against the same text in a batch, as training does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import BenchmarkLine
from cloud_service.embedding.base import Embedder
from cloud_service.retrieval.exact import ExactIndex
from cloud_service.user_model import UserModel
from shared.bundle import Bundle

TEXTS = 128
BATCH = 64
NEAREST = 100


async def compare_batches(
    embedder: Embedder, bundle: Bundle, texts: Sequence[str]
) -> list[BenchmarkLine]:
    """Cosine of both vectors of a text at least, and how many candidates both retrieve.

    Number formats with few digits (bfloat16) add up in another order in a batch.
    """
    texts = texts[:TEXTS]
    alone = np.concatenate([await embedder.embed([text]) for text in texts])
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    together = np.concatenate([await embedder.embed(batch) for batch in batches])
    model = UserModel(bundle, embedder)
    index = ExactIndex(bundle.semantic_vectors())
    found = [index.search(model.project(vectors), NEAREST)[0] for vectors in (alone, together)]
    return batch_lines(alone, together, found[0], found[1])


def batch_lines(
    alone: NDArray[np.float32],
    together: NDArray[np.float32],
    found_alone: NDArray[np.int32],
    found_together: NDArray[np.int32],
) -> list[BenchmarkLine]:
    """Of unit vectors [n, m] and the items [n, k] retrieved with them."""
    cosine = float((alone.astype(np.float64) * together).sum(axis=1).min())
    shared = [len(np.intersect1d(*pair)) for pair in zip(found_alone, found_together, strict=True)]
    wanted = found_alone.shape[1]
    return [
        BenchmarkLine(
            name=f"a text alone and in batches of {BATCH}, least cosine",
            ours=cosine,
            theirs=1.0,
            unit="cosine",
            ratio=cosine,
            meaning="1 is equal",
        ),
        BenchmarkLine(
            name=f"top-{wanted} candidates of a text alone and in batches, in common",
            ours=float(np.mean(shared)),
            theirs=float(wanted),
            unit="items",
            ratio=float(np.mean(shared)) / wanted,
            meaning="1 is equal",
        ),
    ]
