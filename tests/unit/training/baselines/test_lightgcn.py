"""LightGCN against dense matrices, and its inductive rows against those of the training graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.backbone.batches import Events
from training.baselines.lightgcn import LAYERS, Bipartite, FittedLightGCN, bpr, unseen

ITEMS, DIM = 7, 3
# User 0 met item 1 twice; nobody met item 6.
HISTORIES = ([1, 2, 1, 4], [0, 2], [5, 4, 3, 2, 0], [1])


@pytest.fixture
def events() -> Events:
    item = np.concatenate(HISTORIES)
    start = np.cumsum([0, *map(len, HISTORIES)]).astype(np.int64)
    return Events(item, np.zeros(len(item), dtype=np.float32), start)


@pytest.fixture
def graph(events: Events) -> Bipartite:
    return Bipartite.of(events, ITEMS)


@pytest.fixture
def start() -> torch.Tensor:
    return torch.randn(
        len(HISTORIES) + ITEMS, DIM, generator=torch.Generator().manual_seed(0)
    ).double()


def dense() -> np.ndarray:
    """The normalised adjacency of users and items together, [U + I, U + I]."""
    users = len(HISTORIES)
    a = np.zeros((users + ITEMS, users + ITEMS))
    for user, items in enumerate(HISTORIES):
        for item in items:
            a[user, users + item] = a[users + item, user] = 1.0
    degree = a.sum(1)
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0.0)
    return scale[:, None] * a * scale


def test_propagation_is_that_of_the_dense_matrix(graph: Bipartite, start: torch.Tensor) -> None:
    a, x = dense(), start.numpy()
    for user, item in graph.layers(start.float()):
        np.testing.assert_allclose(torch.cat([user, item]).numpy(), x, rtol=1e-5, atol=1e-6)
        x = a @ x


def test_a_users_row_made_anew_is_that_of_the_graph_but_for_its_own_start(
    graph: Bipartite, start: torch.Tensor
) -> None:
    fitted = FittedLightGCN.of(graph, start.float())
    place = np.repeat(np.arange(len(HISTORIES)), [len(items) for items in HISTORIES])
    found = fitted.users(
        torch.from_numpy(place), torch.from_numpy(np.concatenate(HISTORIES)), len(HISTORIES) + 1
    )
    a, x = dense(), start.numpy()
    layers = [x := x if k == 0 else a @ x for k in range(LAYERS + 1)]
    wanted = sum(layers[1:])[: len(HISTORIES)] / (LAYERS + 1)
    np.testing.assert_allclose(found[:-1].numpy(), wanted, rtol=1e-4, atol=1e-6)
    assert not found[-1].any()  # who met nothing
    items = sum(layers)[len(HISTORIES) :] / (LAYERS + 1)
    np.testing.assert_allclose(fitted.vectors.numpy(), items, rtol=1e-4, atol=1e-6)


def test_the_loss_is_bpr_of_the_mean_layers(graph: Bipartite, start: torch.Tensor) -> None:
    edges, negative = np.array([0, 3, 5]), np.array([0, 6, 6])
    a, x = dense(), start.numpy()
    mean = sum(np.linalg.matrix_power(a, k) @ x for k in range(LAYERS + 1)) / (LAYERS + 1)
    u, i = graph.user[edges], graph.item[edges] + len(HISTORIES)
    j = negative + len(HISTORIES)
    ahead = (mean[u] * (mean[i] - mean[j])).sum(1)
    size = sum(np.square(x[rows]).sum() for rows in (u, i, j)) / 3
    wanted = np.log1p(np.exp(-ahead)).mean() + 0.1 * size / 2
    found = bpr(graph, start.float(), edges, negative, 0.1)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_negatives_are_items_that_the_user_has_not_met(graph: Bipartite) -> None:
    edges = np.arange(len(graph.user)).repeat(50)
    drawn = unseen(graph, edges, np.random.default_rng(0))
    for user, item in zip(graph.user[edges], drawn, strict=True):
        assert item not in HISTORIES[user]
    assert set(drawn) == set(range(ITEMS))
