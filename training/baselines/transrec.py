"""TransRec: an item written in three facets, and a score from all that was written of it.

Source: Lin et al., KDD 2024, arXiv 2310.06491. One generative model is told by a facet which
identifiers to write: ids, titles, attributes (section 3.1). Beam search constrained to identifiers
that exist writes 20 of each, and *aggregated grounding* (section 3.3) scores items by them:

    S(i) = sum_f lambda_f sum_{g of i} exp(log p_g / T_f) / sqrt(items that share g),

the probability of an identifier as a geometric mean over its T_f tokens, less where it says less.
lambda is chosen on validation steps with snapshots of five events of age.

In the cloud (TransRec) it reads the history up to tau, on the device (TransRec-D) with half the
width and one layer that up to t.

Declared simplifications: no pretrained language model (the product's T5 of CPU size, from random
weights); a trie of whole identifiers for the paper's FM-index, which lets writing begin anywhere
within one; titles are codes by k-means over text embeddings, not words; three facets.

Knows the order of events, not their times.

On 1,682 items it has about .24 million parameters (TransRec-D: .03). Writing 20 identifiers of each
facet, 100 items barred, takes about 14 ms of one core alone and 4 ms in batches (TransRec-D: 8, 2).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.generator_config import GeneratorConfig
from shared.progress import Progress
from training.background import in_thread
from training.baselines.base import (
    FLOAT_BYTES,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    best_items,
    mean_ndcg10,
    sampled,
    weights_in,
)
from training.baselines.language.facet_fit import fit_facets
from training.baselines.language.facets import Facet, FacetNetwork, FacetWriter, facets_of
from training.baselines.language.remembered import Arrays, RememberedStates, histories, request_us
from training.calibration.pairs import Pairs
from training.learning import reproducible

GRID = (0.0, 0.5, 1.0)  # of lambda_f
JUDGED = 500  # validation requests that judge an epoch
CHOSEN_AT = 5  # gap of the validation requests that lambda is chosen on

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class TransRec:
    """Options.

    Attributes:
        reads: "cloud" for TransRec, "device" for TransRec-D.
        width: of the network's states; its four heads and feed-forward layers follow.
        layers: of the encoder, and of the decoder.
        history: latest items that are read.
        beams: identifiers that are written of each facet.
        codes: of a title, at each level.
        epochs: at most.
    """

    reads: Reads = "cloud"
    width: int = 64
    layers: int = 2
    history: int = 20
    beams: int = 20
    codes: int = 256
    epochs: int = 14

    async def fit(self, fitting: Fitting) -> FittedTransRec:
        """As ``Baseline.fit``; a log whose items are known in part (a global split) is refused."""
        run = fitting.run
        run.require_all_items("TransRec")
        texts = await run.result(run.items)
        facets = facets_of(run.log.catalogue, texts, codes=self.codes, seed=fitting.seed)
        return await in_thread(lambda p: self.fit_on(fitting, facets, p), fitting.progress)

    def fit_on(
        self, fitting: Fitting, facets: tuple[Facet, ...], progress: Progress
    ) -> FittedTransRec:
        """Train the network and choose lambda."""
        with reproducible(fitting.seed, fitting.threads):
            network = FacetNetwork(self._config(facets), len(facets))
        kind = ListingTransRec if self.reads == "cloud" else FittedTransRec
        fitted = kind(options=self, network=network, facets=facets)
        pairs = fitting.validation[0 if self.reads == "device" else CHOSEN_AT]
        judged = sampled(pairs, JUDGED)

        def judge() -> float:
            fitted.forget()
            return mean_ndcg10(fitting.world, judged, fitted.scores)

        fit_facets(
            network,
            fitted.writers,
            fitting.learned,
            judge,
            epochs=fitting.epochs(self.epochs),
            seed=fitting.seed,
            threads=fitting.threads,
            progress=progress,
        )
        fitted.forget()
        fitted.shares = _best_shares(fitted, fitting.world, pairs)
        if self.reads == "device" and fitting.most_epochs is None:
            rows = fitting.validation[0].fresh
            fitted.device_us = request_us(lambda row: fitted.write(fitting.world, row), rows)
        return fitted

    def _config(self, facets: Sequence[Facet]) -> GeneratorConfig:
        return GeneratorConfig(
            levels=tuple(size for facet in facets for size in facet.tokens.sizes),
            history=self.history,
            d_model=self.width,
            d_ff=4 * self.width,
            d_kv=self.width // 4,
            layers=self.layers,
        )


@dataclass(eq=False, kw_only=True)
class FittedTransRec:
    """A network that writes identifiers, and how much each facet counts.

    Attributes:
        shares: lambda_f.
        device_us: of a request; None where it was not measured.
    """

    options: TransRec
    network: FacetNetwork
    facets: tuple[Facet, ...]
    shares: tuple[float, ...] = (1.0, 1.0, 1.0)
    device_us: float | None = None
    writers: tuple[FacetWriter, ...] = field(init=False)
    _written: RememberedStates = field(init=False)

    def __post_init__(self) -> None:
        self.writers = tuple(
            FacetWriter(self.network, self.facets, number) for number in range(len(self.facets))
        )
        self.forget()

    def forget(self) -> None:
        """Write anew from now on: the weights have changed."""
        self._written = RememberedStates(self.write)

    @property
    def costs(self) -> MethodCosts:
        """A snapshot is a list alone; each facet is a pass over the history's tokens."""
        parameters = weights_in(self.network)
        places = sum(len(facet.tokens.sizes) for facet in self.facets)
        cloud = self.options.reads == "cloud"
        return MethodCosts(
            parameters=parameters,
            device_bytes=0 if cloud else FLOAT_BYTES * parameters,
            cloud_tokens=float(self.options.history * places) if cloud else 0.0,
            device_us=self.device_us,
        )

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """[B, I] S(i); 0 for an item that nothing was written of."""
        rows = stale if self.options.reads == "cloud" else fresh
        parts = self.by_facet(world, rows)
        total = torch.zeros(len(rows), world.n_items)
        for share, part in zip(self.shares, parts, strict=True):
            total += share * part
        return total

    def by_facet(self, world: World, rows: Rows) -> list[Tensor]:
        """What each facet adds to S, before lambda: [B, I] each."""
        arrays = self._written.of(world, rows)
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        return [
            grounded(facet, found, log_p)
            for facet, (found, log_p) in zip(self.facets, pairs, strict=True)
        ]

    def write(self, world: World, rows: Rows) -> Arrays:
        """Identifiers [B, K] and their log-probabilities [B, K] of each facet, written anew."""
        known = histories(world, rows)
        seen = known if world.twin.exclude_seen else None
        written = [writer.write(known, self.options.beams, seen) for writer in self.writers]
        return tuple(itertools.chain.from_iterable(written))


class ListingTransRec(FittedTransRec):
    """TransRec in the cloud, which makes a list of its own."""

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        """[B, N] the items with the highest S at ``stale``, of those new to the user."""
        return best_items(world, stale, self.scores(world, stale, stale), count)


def grounded(facet: Facet, found: NDArray[np.integer], log_p: Floats) -> Tensor:
    """[B, I] float32 one facet's part of S.

    Args:
        found: [B, K] identifiers that were written. log_p: [B, K] of each, -inf for none.
    """
    places = len(facet.tokens.sizes)
    weight = torch.from_numpy(np.exp(np.asarray(log_p, dtype=np.float32) / places))
    of_identifier = torch.zeros(len(found), len(facet.tokens))
    of_identifier.scatter_add_(1, torch.from_numpy(found.astype(np.int64)), weight)
    of_identifier /= torch.from_numpy(np.sqrt(facet.sharing).astype(np.float32))
    return of_identifier[:, torch.from_numpy(facet.of_item)]


def _best_shares(fitted: FittedTransRec, world: World, pairs: Pairs) -> tuple[float, ...]:
    """lambda with the highest NDCG@10 on validation, of equals the most even; 1 without any."""
    tried = [shares for shares in itertools.product(GRID, repeat=len(fitted.facets)) if any(shares)]
    tried.sort(key=lambda shares: (float(np.std(shares)), -sum(shares)))

    def worth(shares: tuple[float, ...]) -> float:
        fitted.shares = shares
        return mean_ndcg10(world, pairs, fitted.scores)

    return max(tried, key=worth)
