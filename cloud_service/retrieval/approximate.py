"""ApproximateIndex: an inverted file by faiss, of which a search reads a few lists.

Items are grouped around centroids (k-means), and a search scores the items of the lists whose
centroids lie nearest (Jégou, Douze, Schmid: Product Quantization for Nearest Neighbor Search,
2011, section IV). Item vectors differ in length, so that the nearest centroid need not be the one
with the best items; one more coordinate makes all of them equally long, and then the nearest items
are those of the highest inner product (Bachrach et al.: Speeding Up the Xbox Recommender System,
2014, theorem 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud_service.retrieval.base import Float32, Found, require_query
from shared.errors import ConfigError

ITEMS_PER_LIST = 200  # in the mean; twice as many lists search no faster and take twice as long
_FEWEST_LISTS, _MOST_LISTS = 1, 4096
_SAMPLE_PER_LIST = 64  # items that k-means looks at; more move recall by less than .001
_ROUNDS = 8  # of k-means
_SEED = 1234
_BYTES_PER_ID = 8


class ApproximateIndex:
    """Scores are exact, which items are found is not: see ``recall.tuned``.

    Of n items found, order and ties are those of ``ExactIndex``. The same vectors give the same
    index on one machine.

    Args:
        item_vectors: [I, d] float32, those of the semantic channel; not copied.
        probes: lists that a search reads; may be changed at any time.

    Raises:
        ConfigError: faiss is not installed.
        ValueError: vectors are no finite matrix.
    """

    def __init__(self, item_vectors: Float32, *, probes: int = 8):
        if item_vectors.ndim != 2 or not len(item_vectors) or not np.isfinite(item_vectors).all():
            raise ValueError("item vectors must be a matrix of finite values")
        self._vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
        self.probes = probes
        self._lists = _inverted_lists(self._vectors)

    @property
    def lists(self) -> int:
        """Lists that there are: a search that reads all of them finds every item."""
        return int(self._lists.nlist)

    @property
    def memory_bytes(self) -> int:
        """Of lists and centroids; the item vectors themselves come on top."""
        row = self._lists.code_size + _BYTES_PER_ID
        return int(self._lists.ntotal * row + self.lists * self._lists.code_size)

    def search(self, e_sem: Float32, n: int) -> Found:
        n_items, dim = self._vectors.shape
        require_query(e_sem, dim, n)
        wanted, probes = min(n, n_items), min(self.probes, self.lists)
        query = np.zeros((len(e_sem), dim + 1), dtype=np.float32)
        query[:, :dim] = e_sem
        found = self._nearest(query, wanted, probes)
        # Lists may hold fewer items than are wanted; all lists together never do.
        while (short := (found < 0).any(axis=1)).any():
            probes = min(2 * probes, self.lists)
            found[short] = self._nearest(query[short], wanted, probes)
        return _ranked(e_sem, self._vectors, found)

    def _nearest(self, query: Float32, n: int, probes: int) -> NDArray[np.int64]:
        """[b, n] items, -1 where the lists have no more."""
        import faiss

        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = probes
        _, items = self._lists.search(query, n, params=parameters)
        found: NDArray[np.int64] = items
        return found


def _ranked(e_sem: Float32, vectors: Float32, found: NDArray[np.int64]) -> Found:
    """``found`` [b, n] in the order of exact scores, ties by index."""
    found = np.sort(found, axis=1)
    scores = np.einsum("bnd,bd->bn", vectors[found], e_sem.astype(np.float32, copy=False))
    order = np.argsort(-scores, axis=1, kind="stable")
    items = np.take_along_axis(found, order, axis=1).astype(np.int32)
    return items, np.take_along_axis(scores, order, axis=1)


def _inverted_lists(vectors: Float32) -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            f"candidates among {len(vectors):,} items are found by faiss, which is not installed "
            f"({error}); run: pip install 'scalrec[cloud]', or raise cloud.exact_below above the "
            "number of items, so that every item is scored"
        ) from error
    lengthened = _lengthened(vectors)
    dim = lengthened.shape[1]
    count = int(np.clip(len(vectors) // ITEMS_PER_LIST, _FEWEST_LISTS, _MOST_LISTS))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dim), dim, count)
    index.cp.niter, index.cp.seed = _ROUNDS, _SEED
    index.cp.max_points_per_centroid = _SAMPLE_PER_LIST
    index.cp.min_points_per_centroid = 1  # else it warns on standard error
    index.train(lengthened)
    index.add(lengthened)
    return index


def _lengthened(vectors: Float32) -> Float32:
    """[I, d + 1] of one length: ``vectors`` and what they lack of the longest one."""
    squares = np.einsum("id,id->i", vectors, vectors, dtype=np.float64)
    lacking = np.sqrt(np.maximum(squares.max() - squares, 0.0))
    return np.concatenate([vectors, lacking[:, None].astype(np.float32)], axis=1)
