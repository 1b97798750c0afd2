"""What an approximate index misses, measured before it serves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud_service.retrieval.approximate import ApproximateIndex
from cloud_service.retrieval.base import CandidateIndex, Float32
from cloud_service.retrieval.exact import ExactIndex
from shared.errors import ConfigError

QUERIES = 96
_AT_ONCE = 16  # of them in one search: each needs room for a score of every item
_INTERESTS = 4  # items whose mean stands for a user, at most
_FIRST_PROBES = 4
_MOST_SHARE = 1 / 8  # of all lists: reading more of them is hardly quicker than all items
_SEED = 0


@dataclass(frozen=True)
class Recall:
    """Share of the n best items that an index finds.

    Attributes:
        mean, worst: over the queries.
        n: items wanted.
    """

    mean: float
    worst: float
    n: int


def sample_queries(item_vectors: Float32, told: Float32 | None = None) -> Float32:
    """QUERIES embeddings and those ``told`` [k, d], [QUERIES + k, d]: what users may ask with.

    An item's own vector is easy, as all it is near to lies in one place. A user with several
    interests is not: hence means of one to four items that have nothing to do with each other.
    """
    rng = np.random.default_rng(_SEED)
    chosen = rng.integers(0, len(item_vectors), (QUERIES, _INTERESTS))
    interests = rng.integers(1, _INTERESTS + 1, QUERIES)
    counted = np.arange(_INTERESTS) < interests[:, None]
    sums = np.einsum("qid,qi->qd", item_vectors[chosen], counted.astype(np.float32))
    means = (sums / interests[:, None]).astype(np.float32)
    return means if told is None else np.concatenate([means, told.astype(np.float32)])


def found_by(index: CandidateIndex, queries: Float32, n: int) -> NDArray[np.int32]:
    """Items [q, min(n, I)] that ``index`` finds for ``queries`` [q, d]."""
    starts = range(0, len(queries), _AT_ONCE)
    return np.concatenate([index.search(queries[at : at + _AT_ONCE], n)[0] for at in starts])


def recall_of(found: NDArray[np.int32], right: NDArray[np.int32]) -> Recall:
    """Of items [q, n] found, where ``right`` [q, n] would have been."""
    shares = [np.isin(row, other).mean() for row, other in zip(right, found, strict=True)]
    return Recall(mean=float(np.mean(shares)), worst=float(np.min(shares)), n=right.shape[1])


def tuned(
    item_vectors: Float32, *, n: int, least: float, told: Float32 | None = None
) -> tuple[ApproximateIndex, Recall]:
    """An index that reads as few lists as ``least`` recall at ``n`` allows, and its recall.

    Args:
        item_vectors: [I, d].
        least: mean recall over ``sample_queries``.
        told: [k, d] real queries, to be measured beside those.

    Raises:
        ConfigError: not even an eighth of the lists give that recall, or faiss is not installed.
    """
    index = ApproximateIndex(item_vectors)
    queries = sample_queries(item_vectors, told)
    right = found_by(ExactIndex(item_vectors), queries, n)
    most = max(1, int(index.lists * _MOST_SHARE))
    index.probes = min(_FIRST_PROBES, most)
    while (recall := recall_of(found_by(index, queries, n), right)).mean < least:
        if index.probes == most:
            raise ConfigError(
                f"an approximate index over {len(item_vectors):,} items finds {recall.mean:.4f} of "
                f"the {n} best candidates, below cloud.least_recall ({least:g}): the vectors have "
                "too few groups. Lower cloud.least_recall, or raise cloud.exact_below above the "
                "number of items, so that every item is scored"
            )
        index.probes = min(index.probes + max(1, index.probes // 4), most)
    return index, recall
