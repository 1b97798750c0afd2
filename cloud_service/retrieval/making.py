"""The index that the settings ask for."""

from __future__ import annotations

from cloud_service.retrieval.base import CandidateIndex, Float32
from cloud_service.retrieval.exact import ExactIndex
from cloud_service.retrieval.recall import Recall, tuned
from cloud_service.settings import CloudSettings


def candidate_index(
    item_vectors: Float32, cloud: CloudSettings, queries: Float32 | None = None
) -> tuple[CandidateIndex, Recall | None]:
    """Exact below ``cloud.exact_below`` items; else approximate, and its recall as measured now.

    Args:
        item_vectors: [I, d] float32, those of the semantic channel.
        queries: [k, d] user embeddings to measure recall with, beside made-up ones.

    Raises:
        ConfigError: recall is below ``cloud.least_recall``, or faiss is not installed.
    """
    if len(item_vectors) < cloud.exact_below:
        return ExactIndex(item_vectors), None
    return tuned(item_vectors, n=cloud.candidates, least=cloud.least_recall, told=queries)
