"""PREFER (Guo et al., IMWUT 2021): devices train together through edge servers.

Each user's device trains a GRU4Rec of the product on its own events. What is independent of the
user, all weights and item vectors, goes to the edge server of its group, which averages by events
(``clients.federated_average``), and edges meet now and then. A vector that is added to the state
stays on the device.

Simplifications: federation is simulated in one process, without secure aggregation; edges are made
of words, as logs have no coordinates (``edges``); the paper's second location model is left out, as
is the return mechanism, whose gradient devices cannot be simulated side by side by; the counts of
own events that every device has stand beside the scores. Biases start at the logarithm of training
counts, as those of every structure model here: the only figure that all users give away.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.metrics import ndcg
from shared.progress import Progress
from training.backbone.evaluate import encode_requests, structural_scores
from training.backbone.item_table import ItemParameters
from training.background import in_thread
from training.baselines.base import (
    FLOAT_BYTES,
    FittedBaseline,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    full_ranks,
    weights_in,
)
from training.baselines.device_time import encoder_us
from training.baselines.prefer.clients import BIAS, MODEL, PERSONAL, VECTORS, Clients, Weights
from training.baselines.prefer.edges import Edges, by_locality, by_taste
from training.baselines.prefer.federation import Federation, Rounds
from training.encoders.base import Encoder
from training.encoders.gru4rec import GRU4RecConfig
from training.export.onnx_graphs import export_encoder
from training.learning import Judged, fit_until, reproducible
from training.semantic.texts import reduce_vectors


@dataclass(frozen=True)
class Prefer:
    """Options.

    Attributes:
        dim: d, of states and item vectors. edges: at most.
        judged: rounds between two looks at validation. patience: such looks without a better one.
    """

    dim: int = 32
    edges: int = 5
    rounds: Rounds = field(default_factory=Rounds)
    judged: int = 5
    patience: int = 5
    reads: Reads = "device"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        """See ``Baseline.fit``."""
        run = fitting.run
        text = await run.result(run.items)
        return await in_thread(lambda shown: self._train(fitting, text, shown), fitting.progress)

    def _train(
        self, fitting: Fitting, text: NDArray[np.float32], progress: Progress
    ) -> FittedPrefer:
        run, learned = fitting.run, fitting.learned
        areas = run.log.catalogue.areas
        edges = (
            by_locality(learned, areas, self.edges)
            if any(areas)
            else by_taste(learned, text, self.edges, fitting.seed)
        )
        config = GRU4RecConfig(
            dim=self.dim,
            layers=1,
            hidden=self.dim,
            dropout=0.0,
            window=run.settings.profile.window,
            has_time=run.log.time is not None,
            return_mechanism=False,
        )
        counts = np.bincount(learned.item, minlength=fitting.n_items)
        with reproducible(fitting.seed, fitting.threads):
            encoder = config.build()
            table = ItemParameters(
                fitting.n_items, self.dim, reduce_vectors(text, self.dim, fitting.seed)
            )
            start = {MODEL + name: value for name, value in encoder.named_parameters()}
            share = torch.from_numpy((counts + 1.0) / (counts + 1.0).mean()).log().float()
            federation = Federation(
                Clients(encoder, run.policy),
                start | {VECTORS: table.vectors, BIAS: share},
                learned,
                edges,
                self.rounds,
                window=config.window,
                seed=fitting.seed,
            )
            looks = fitting.epochs(-(-self.rounds.number // self.judged))
            fit_until(
                looks,
                federation.weights | {PERSONAL: federation.personal},
                lambda _, say: federation.learn(self.judged, say),
                lambda: Judged(mean_of_edges(fitting, fitted_of(federation, config))),
                label="training PREFER's federation",
                scored="NDCG@10 of its edges",
                progress=progress,
                patience=self.patience,
            )
        found = fitted_of(federation, config)
        if fitting.most_epochs is not None:
            return found
        return replace(found, device_us=encoder_us(found.models[0][0]))


@torch.no_grad()
def fitted_of(federation: Federation, config: GRU4RecConfig) -> FittedPrefer:
    """What every edge and every user have come to, copied."""
    models = []
    for edge in range(len(federation.weights[BIAS])):
        own: Weights = {name: value[edge].clone() for name, value in federation.weights.items()}
        encoder = config.build().eval().requires_grad_(False)
        encoder.load_state_dict(
            {name.removeprefix(MODEL): value for name, value in own.items() if MODEL in name},
            strict=False,  # of what is no parameter it keeps its own
        )
        table = ItemParameters(*own[VECTORS].shape).requires_grad_(False)
        table.vectors.copy_(own[VECTORS])
        table.bias.copy_(own[BIAS])
        models.append((encoder, table))
    return FittedPrefer(tuple(models), federation.edges, federation.personal.clone())


def mean_of_edges(fitting: Fitting, fitted: FittedPrefer) -> float:
    """Mean over edges of NDCG@10 of their validation requests; 0 without any."""
    pairs = fitting.validation[0]
    found = ndcg(full_ranks(fitting.world, pairs, fitted.scores), 10)
    edge = fitted.edges[fitting.world.requests.anchors.user[pairs.fresh]]
    means = [found[edge == one].mean() for one in np.unique(edge)]
    return float(np.mean(means)) if means else 0.0


@dataclass(frozen=True, eq=False)
class FittedPrefer:
    """A model for each edge and a vector for each user.

    Attributes:
        models: encoder and item table of each edge.
        edges: [U] of each user. personal: [U, d].
        device_us: microseconds of a request; None where it was not measured.
    """

    models: tuple[tuple[Encoder, ItemParameters], ...]
    edges: Edges
    personal: Tensor
    device_us: float | None = None

    @property
    def costs(self) -> MethodCosts:
        one = weights_in(*self.models[0])
        return MethodCosts(
            parameters=len(self.models) * one + self.personal.numel(),
            device_bytes=FLOAT_BYTES * (one + self.personal.shape[1]),
            device_us=self.device_us,
        )

    @torch.no_grad()
    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """As ``FittedBaseline.scores``."""
        user = world.requests.anchors.user[fresh]
        found = torch.empty(len(fresh), world.n_items)
        for edge in np.unique(self.edges[user]).tolist():
            at = np.flatnonzero(self.edges[user] == edge)
            model, table = self.models[edge]
            windows = world.windows(fresh[at], model.config.window)
            e_str, copies = encode_requests(model, table, windows)
            state = e_str + self.personal[torch.from_numpy(user[at])]
            found[torch.from_numpy(at)] = structural_scores(state, copies, windows.item, table)
        return found + world.count_bonus(fresh)

    def graphs(self) -> list[bytes]:
        """encoder.onnx of every edge; a device adds its own vector to e_str."""
        return [export_encoder(model) for model, _ in self.models]
