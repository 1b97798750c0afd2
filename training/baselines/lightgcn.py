"""LightGCN on the cloud: collaborative filtering by linear propagation over who met what.

He et al., SIGIR 2020 (arXiv 2002.02126). With A the 0/1 matrix of training events [U, I], D the
degrees and A~ = D_u^-1/2 A D_i^-1/2, users u and items i are propagated over LAYERS layers (eq. 3),

    u(k+1) = A~ i(k),    i(k+1) = A~' u(k),

their vectors are the means over k = 0 .. LAYERS (eq. 4), a score is their inner product (eq. 5),
and E(0) is learned by BPR with one unseen item per training edge (eq. 15).

A snapshot of tau is inductive: the user's row is computed anew from the items met by tau and the
frozen rows of the items, u(k+1) = sum over them of i(k) / sqrt(|N_u| |N_i|). u(0), which belongs to
the user of the training graph, is left out. So a user's later events change the answer, without any
training.

Differs from the paper: that row, where the paper trains anew. It knows no order, time or text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.progress import Progress
from training.backbone.batches import Events
from training.background import in_thread
from training.baselines.base import (
    FittedBaseline,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    best_items,
)
from training.learning import Judged, Say, descend, fit_until, mean_loss, reproducible

LAYERS = 3
BATCH_EDGES = 2048
PASSES = 5  # between two looks at validation
PATIENCE = 5  # such looks without a better one


@dataclass(frozen=True)
class LightGCN:
    """Its options; those of the paper where it names them."""

    dim: int = 64
    epochs: int = 300
    learning_rate: float = 1e-3
    penalty: float = 1e-4
    reads: Reads = "cloud"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        return await in_thread(lambda shown: self._train(fitting, shown), fitting.progress)

    def _train(self, fitting: Fitting, progress: Progress) -> FittedLightGCN:
        graph = Bipartite.of(fitting.learned, fitting.n_items)
        rng = np.random.default_rng(fitting.seed)
        with reproducible(fitting.seed, fitting.threads):
            start = nn.Parameter(torch.empty(graph.users + graph.items, self.dim))
            nn.init.normal_(start, std=0.1)
            optimizer = torch.optim.Adam([start], lr=self.learning_rate)

            def step(_: int, edges: NDArray[np.int64]) -> tuple[float, int]:
                loss = bpr(graph, start, edges, unseen(graph, edges, rng), self.penalty)
                return descend(optimizer, loss), len(edges)

            def learn(_: int, say: Say) -> float:
                passes = [rng.permutation(len(graph.user)) for _ in range(fitting.epochs(PASSES))]
                parts = [
                    edges[first : first + BATCH_EDGES]
                    for edges in passes
                    for first in range(0, len(edges), BATCH_EDGES)
                ]
                return mean_loss(parts, step, say)

            def judge() -> Judged:
                return Judged(fitting.ndcg10(FittedLightGCN.of(graph, start).scores))

            fit_until(
                max(1, fitting.epochs(self.epochs) // PASSES),
                {"start": start},
                learn,
                judge,
                label="training LightGCN",
                progress=progress,
                patience=PATIENCE,
            )
        return FittedLightGCN.of(graph, start)


@dataclass(frozen=True, eq=False)
class Bipartite:
    """The training events as edges, each once.

    Attributes:
        user, item: [E] ends of each edge, sorted by user, then item.
        adjacency: [U, I] sparse A~; transposed: [I, U].
        degree: [I] users of each item.
    """

    users: int
    items: int
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    adjacency: Tensor
    transposed: Tensor
    degree: Tensor

    @classmethod
    def of(cls, events: Events, n_items: int) -> Bipartite:
        users = len(events.user_start) - 1
        user = np.repeat(np.arange(users), np.diff(events.user_start))
        code = np.unique(user * n_items + events.item.astype(np.int64))
        user, item = code // n_items, code % n_items
        of_user = np.bincount(user, minlength=users)
        of_item = np.bincount(item, minlength=n_items)
        weight = torch.from_numpy(1.0 / np.sqrt(of_user[user] * of_item[item])).float()
        index, shape = torch.from_numpy(np.stack([user, item])), (users, n_items)
        return cls(
            users=users,
            items=n_items,
            user=user,
            item=item,
            adjacency=_sparse(index, weight, shape),
            transposed=_sparse(index.flip(0), weight, shape[::-1]),
            degree=torch.from_numpy(of_item).float(),
        )

    def layers(self, start: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Users [U, d] and items [I, d] of the layers 0 .. LAYERS of E(0) [U + I, d]."""
        user, item = start[: self.users], start[self.users :]
        found = [(user, item)]
        for _ in range(LAYERS):
            user, item = (
                torch.sparse.mm(self.adjacency, item),
                torch.sparse.mm(self.transposed, user),
            )
            found.append((user, item))
        return found


def _sparse(index: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.sparse_coo_tensor(index, values, shape, check_invariants=True).coalesce()


def bpr(
    graph: Bipartite,
    start: Tensor,
    edges: NDArray[np.int64],
    negative: NDArray[np.int64],
    penalty: float,
) -> Tensor:
    """-log sigmoid(<u, i> - <u, j>) and the penalty on E(0), mean over ``edges`` (eq. 15).

    Args:
        edges: [B] of the graph. negative: [B] j, an item its user has not met.
    """
    layers = graph.layers(start)
    users, items = (torch.stack([pair[side] for pair in layers]).mean(0) for side in (0, 1))
    u, i, j = (torch.from_numpy(each) for each in (graph.user[edges], graph.item[edges], negative))
    ahead = (users[u] * (items[i] - items[j])).sum(1)
    used = start[u], start[graph.users + i], start[graph.users + j]
    size = sum((rows.square().sum() for rows in used), torch.zeros(())) / len(edges)
    return nn.functional.softplus(-ahead).mean() + penalty * size / 2


def unseen(
    graph: Bipartite, edges: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """[B] for each edge an item that its user has not met; any, where the user met nearly all."""
    user = graph.user[edges]
    known = graph.user * graph.items + graph.item
    drawn = rng.integers(0, graph.items, len(edges))
    for _ in range(20):
        wanted = user * graph.items + drawn
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        met = known[place] == wanted
        if not met.any():
            break
        drawn[met] = rng.integers(0, graph.items, int(met.sum()))
    return drawn


@dataclass(frozen=True, eq=False)
class FittedLightGCN:
    """Frozen rows of the items.

    Attributes:
        spread: [I, d] sum over k < LAYERS of i(k) / sqrt(|N_i|): what an item met by a user adds to
            the user's vector, but for sqrt(|N_u|).
        vectors: [I, d] means over the layers.
        parameters: numbers in E(0).
    """

    spread: Tensor
    vectors: Tensor
    parameters: int

    @classmethod
    def of(cls, graph: Bipartite, start: Tensor) -> FittedLightGCN:
        with torch.no_grad():
            items = torch.stack([item for _, item in graph.layers(start)])
            spread = items[:-1].sum(0) / graph.degree.clamp(min=1).sqrt()[:, None]
            return cls(spread, items.mean(0), start.numel())

    @property
    def costs(self) -> MethodCosts:
        return MethodCosts(parameters=self.parameters)

    def users(self, place: Tensor, item: Tensor, count: int) -> Tensor:
        """[count, d] rows of users who met these items: the mean over the layers, u(0) being zero.

        Args:
            place, item: [n] who met what; a pair counts once. The row of who met nothing is zero.
        """
        items = len(self.vectors)
        code = torch.unique(place * items + item)
        place, item = code // items, code % items
        total = torch.zeros(count, self.spread.shape[1])
        total.index_add_(0, place, self.spread[item])
        met = torch.bincount(place, minlength=count).clamp(min=1)
        return total / met.sqrt()[:, None] / (LAYERS + 1)

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        return self.users(*world.seen(stale), len(stale)) @ self.vectors.T

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        return best_items(world, stale, self.scores(world, stale, stale), count)
