"""TokenTrie: which code may follow which beginning, so that only items can be written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.item_tokens import ItemTokens

NONE = -1


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """Beginnings of token sequences as nodes, numbered within their depth.

    Attributes:
        code: for each place t [N_t, M_t] int64 codes that may follow node n, padded with NONE.
        child: for each place t [N_t, M_t] int64 the node they lead to at depth t + 1; at the last
            place the item. Padded with 0.
    """

    code: tuple[NDArray[np.int64], ...]
    child: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, tokens: ItemTokens) -> TokenTrie:
        codes = tokens.codes.astype(np.int64)
        order = np.lexsort(codes.T[::-1])
        sorted_codes = codes[order]
        parent = np.zeros(len(codes), dtype=np.int64)
        all_code, all_child = [], []
        for place in range(codes.shape[1]):
            last = place == codes.shape[1] - 1
            pair = np.stack([parent, sorted_codes[:, place]], axis=1)
            # Sorted rows: a node begins wherever the beginning so far changes.
            starts = np.concatenate([[True], np.any(pair[1:] != pair[:-1], axis=1)])
            node = np.cumsum(starts) - 1
            edges = pair[starts]
            leads_to = order[starts] if last else node[starts]
            counts = np.bincount(edges[:, 0])
            first = np.concatenate([[0], np.cumsum(counts)[:-1]])
            column = np.arange(len(edges)) - first[edges[:, 0]]
            code = np.full((len(counts), counts.max()), NONE, dtype=np.int64)
            child = np.zeros_like(code)
            code[edges[:, 0], column] = edges[:, 1]
            child[edges[:, 0], column] = leads_to
            all_code.append(code)
            all_child.append(child)
            parent = node
        return cls(tuple(all_code), tuple(all_child))
