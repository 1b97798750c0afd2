"""Facets: three ways of naming an item, and one network that writes any of them.

The multi-facet identifiers of TransRec (Lin et al., KDD 2024, arXiv 2310.06491, section 3.1): an id
and a title name one item each, an attribute names many. The network is the product's generator over
the codes of all facets side by side; a learned vector before the history tells it which facet it
reads and is to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloud_service.generation.beam import BeamSearch
from cloud_service.generation.network import GenerativeNetwork
from shared.generator_config import GeneratorConfig
from shared.interactions import Catalogue
from shared.item_tokens import ItemTokens
from training.generative.candidates import padded
from training.generative.item_codes import random_tokens, text_tokens

LEVELS = 2  # codes of an id or a title, the last one aside
ATTRIBUTES = 2  # category words of an attribute
NO_WORD = ""  # of an item with fewer of them
ROWS = 256  # histories that are decoded together


@dataclass(frozen=True, eq=False)
class Facet:
    """One way of naming I items by G identifiers.

    Attributes:
        tokens: [G, T] of the identifiers.
        of_item: [I] int64 the identifier of each item.
    """

    name: str
    tokens: ItemTokens
    of_item: NDArray[np.int64]

    @property
    def sharing(self) -> NDArray[np.int64]:
        """[G] how many items have each identifier."""
        return np.bincount(self.of_item, minlength=len(self.tokens))

    @property
    def one_each(self) -> bool:
        """Whether every identifier names one item."""
        return len(self.tokens) == len(self.of_item)


def facets_of(
    catalogue: Catalogue, texts: NDArray[np.float32], *, codes: int, seed: int
) -> tuple[Facet, ...]:
    """Id, title and attribute of every item.

    Args:
        texts: [I, m] embeddings of the items' texts, which titles are clustered by.
        codes: of a title, at each level.
    """
    each = np.arange(len(catalogue))
    words = text_tokens(catalogue, texts, levels=LEVELS, codes=codes, seed=seed)
    return (
        Facet("id", random_tokens(catalogue, levels=LEVELS, seed=seed), each),
        Facet("title", words, each),
        attribute_facet(catalogue.categories),
    )


def attribute_facet(categories: Sequence[Sequence[str]]) -> Facet:
    """The first ATTRIBUTES category words of every item, each word a code of its place."""
    words = [[*of, *[NO_WORD] * ATTRIBUTES][:ATTRIBUTES] for of in categories]
    columns = [
        np.unique([row[place] for row in words], return_inverse=True) for place in range(ATTRIBUTES)
    ]
    codes = np.stack([own for _, own in columns], axis=1).astype(np.int32)
    identifiers, of_item = np.unique(codes, axis=0, return_inverse=True)
    sizes = tuple(len(known) for known, _ in columns)
    return Facet("attribute", ItemTokens(identifiers, sizes), of_item.reshape(-1).astype(np.int64))


class FacetNetwork(GenerativeNetwork):
    """A generator whose template is the number of a facet."""

    def __init__(self, config: GeneratorConfig, facets: int) -> None:
        super().__init__(config)
        self.facet = nn.Parameter(torch.empty(facets, config.d_model).uniform_(-0.1, 0.1))

    def before_history(self, template: int) -> list[Tensor]:
        return [self.facet[template : template + 1]]


def levels_of(facets: Sequence[Facet]) -> tuple[slice, ...]:
    """The places of each facet among the levels of the network that writes all of them."""
    stops = np.cumsum([len(facet.tokens.sizes) for facet in facets]).tolist()
    return tuple(slice(a, b) for a, b in zip([0, *stops], stops, strict=False))


class FacetWriter:
    """A network that writes one of its facets."""

    def __init__(self, network: GenerativeNetwork, facets: Sequence[Facet], number: int) -> None:
        self.facet, self.number, self.network = facets[number], number, network
        self.search = BeamSearch(
            network, self.facet.tokens, levels=levels_of(facets)[number], template=number
        )
        named = self.search.token_of_item[torch.from_numpy(self.facet.of_item)]
        self.token_of_item = torch.cat([named, self.search.token_of_item[-1:]])  # [I + 1, T]

    def write(
        self,
        known: Sequence[NDArray[np.integer]],
        n: int,
        seen: Sequence[NDArray[np.integer]] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The ``n`` likeliest identifiers after each history, best first.

        Args:
            known: R arrays of items, oldest first, of which the network's ``history`` are read.
            seen: items that must not be named; heeded where an identifier names one item.

        Returns:
            identifiers [R, n] and their log-probabilities [R, n], -inf where there are fewer.
        """
        width = self.network.config.history
        of_item = self.facet.of_item
        read = [of_item[items[-width:]] for items in known]
        barred = None
        if seen is not None and self.facet.one_each:
            barred = [np.unique(of_item[items]) for items in seen]
        found = np.zeros((len(read), n), dtype=np.int32)
        scores = np.full((len(read), n), -np.inf, dtype=np.float32)
        weight = [len(items) for items in (read if barred is None else barred)]
        order = np.argsort(weight, kind="stable")  # similar rows together: they pad little
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            history = torch.from_numpy(padded([read[row] for row in rows]))
            banned = None
            if barred is not None:
                banned = torch.from_numpy(padded([barred[row] for row in rows]))
            written, score = self.search.search(history, n, banned)
            place = np.arange(written.shape[1])
            found[rows[:, None], place] = written.numpy()
            scores[rows[:, None], place] = score.numpy()
        return found, scores
