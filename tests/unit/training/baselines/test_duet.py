"""DUET: generated layers by hand, and training that sees what a device will compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.baselines import trial
from tests.support.logs import drifting_log
from training.backbone.batches import Events
from training.baselines.base import CLOUD_WINDOW
from training.baselines.duet.method import FittedDuet
from training.baselines.duet.network import HyperNetwork
from training.baselines.duet.targets import SEGMENT, Targets, segments_of

DIM = 6


@pytest.mark.parametrize("rank", [2, None])
def test_a_snapshot_is_two_layers_beside_the_base(rank: int | None) -> None:
    torch.manual_seed(0)
    network = HyperNetwork(DIM, rank)
    numbers, e = torch.randn(4, 2 * network.per_layer), torch.randn(4, DIM)
    found = network.applied(numbers, e).detach().numpy()
    for row, state, given in zip(found, e.numpy(), numbers.numpy(), strict=True):
        (first, first_bias), (second, second_bias) = (
            by_hand(layer, rank) for layer in np.split(given, 2)
        )
        wanted = state + second @ np.tanh(first @ state + first_bias) + second_bias
        np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-4)


def by_hand(layer: np.ndarray, rank: int | None) -> tuple[np.ndarray, np.ndarray]:
    """W and b of a layer's numbers."""
    weights, bias = layer[:-DIM], layer[-DIM:]
    if rank is None:
        return weights.reshape(DIM, DIM), bias
    u, v = weights.reshape(2, DIM, rank)
    return u @ v.T, bias


@pytest.mark.parametrize("rank", [2, None])
def test_training_starts_from_the_base_as_it_is_and_can_leave_it(rank: int | None) -> None:
    torch.manual_seed(0)
    network = HyperNetwork(DIM, rank)
    e = torch.randn(3, DIM)
    moved = network.applied(network.generated(network.states(torch.randn(3, 5, DIM))[:, -1]), e)
    assert torch.equal(moved, e)
    moved.square().sum().backward()
    assert network.weights.weight.grad is not None
    assert network.weights.weight.grad.abs().sum() > 0


def test_every_target_is_in_one_segment_behind_its_own_users_events() -> None:
    sizes = (1, 2, SEGMENT + 1, SEGMENT + 2, 3 * SEGMENT)
    start = np.cumsum([0, *sizes]).astype(np.int64)
    n = int(start[-1])
    events = Events(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.float32), start)
    found = []
    for behind, first, stop in segments_of(events).tolist():
        user = int(np.searchsorted(start, behind, side="right")) - 1
        assert start[user] <= behind < first < stop <= start[user + 1]
        assert stop - behind <= CLOUD_WINDOW
        assert behind == max(start[user], first - (CLOUD_WINDOW - SEGMENT))
        found += range(first, stop)
    assert found == [row for row in range(n) if row not in start]


@pytest.mark.parametrize("returns", [True, False])
async def test_the_loss_of_a_target_is_that_of_its_request(tmp_path: Path, returns: bool) -> None:
    """A segment of one target, learned from, and the same request asked as a device asks."""
    log = drifting_log(returns=returns, items=40 if returns else 60)
    async with trial(tmp_path, log) as found:
        fitting, world = found.fitting, found.fitting.world
        base = fitting.trained.backbone
        torch.manual_seed(0)
        network = HyperNetwork(base.model.config.dim, 2).eval()
        torch.nn.init.normal_(network.weights.weight, std=0.3)
        anchors, learned = world.requests.anchors, fitting.learned
        at = learned.user_start[anchors.user] + anchors.tau
        rows = np.flatnonzero(at < learned.user_start[anchors.user + 1])[::7]
        first = learned.user_start[anchors.user]
        targets = replace(
            Targets.of(fitting, base),
            segments=np.stack([first[rows], at[rows], at[rows] + 1], axis=1),
        )
        scores = FittedDuet(network, base)._scored(world, rows, rows)
        barred = world.barred(rows)
        if barred is not None:
            scores = scores.masked_fill(barred, -torch.inf)
        wanted = torch.nn.functional.cross_entropy(
            scores, world.requests.target[torch.from_numpy(rows)], reduction="none"
        )
        rng = np.random.default_rng(0)
        losses = [
            targets.loss(network, np.array([place]), np.array([0]), rng)[0].item()
            for place in range(len(rows))
        ]
        np.testing.assert_allclose(losses, wanted.detach().numpy(), rtol=1e-3, atol=1e-4)
