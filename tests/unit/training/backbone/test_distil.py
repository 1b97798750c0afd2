"""What a model learns from two others, against closed forms."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from training.backbone.batches import Events, training_windows
from training.backbone.distil import WEIGHT, answers, distilling, divergence, joint
from training.backbone.fit import BackboneOptions, Cycle, TrainedBackbone, train_backbone
from training.backbone.item_table import ItemParameters
from training.backbone.objective import Objective, next_item_log_likelihood
from training.encoders.sasrec import SASRec, SASRecConfig

ITEMS, USERS, LENGTH = 9, 12, 14
CONFIG = SASRecConfig(dim=8, layers=1, window=6, dropout=0.0)
OPTIONS = BackboneOptions(cycles=(Cycle(epochs=3, learning_rate=1e-2),), batch_windows=8, stride=3)
Policy = Literal["allow", "exclude"]


def events(seed: int = 5) -> Events:
    rng = np.random.default_rng(seed)
    n = USERS * LENGTH
    return Events(
        item=rng.integers(0, ITEMS, n),
        local_hour=rng.uniform(0, 168, n).astype(np.float32),
        user_start=np.arange(USERS + 1) * LENGTH,
        time_s=np.cumsum(rng.uniform(600, 90_000, (USERS, LENGTH)), axis=1).ravel(),
    )


def untrained(seed: int, *, copies: bool = True) -> TrainedBackbone:
    torch.manual_seed(seed)
    config = CONFIG.model_copy(update={"return_mechanism": copies})
    model, table = SASRec(config).eval(), ItemParameters(ITEMS, config.dim)
    with torch.no_grad():
        table.bias.normal_()
    return TrainedBackbone(model, table, OPTIONS)


def test_the_loss_of_three_items_in_numbers() -> None:
    """q is proportional to the root of p1 p2, and KL(q || p) counts where q is."""
    first, second = torch.tensor([[0.5, 0.4, 0.1]]), torch.tensor([[0.2, 0.1, 0.7]])
    own = torch.tensor([[0.25, 0.25, 0.5]])
    root = [math.sqrt(0.5 * 0.2), math.sqrt(0.4 * 0.1), math.sqrt(0.1 * 0.7)]
    q = [value / sum(root) for value in root]
    found = joint([first.log(), second.log()])
    torch.testing.assert_close(found.exp(), torch.tensor([q]))
    by_hand = sum(a * math.log(a / b) for a, b in zip(q, own[0].tolist(), strict=True))
    assert divergence(found, own.log()).item() == pytest.approx(by_hand, rel=1e-5)
    # An item that nobody may answer is out of both sums.
    some = torch.tensor([[0.6, 0.4, 0.0]]).log()
    other = torch.tensor([[0.3, 0.7, 0.0]]).log()
    two = 0.6 * math.log(0.6 / 0.3) + 0.4 * math.log(0.4 / 0.7)
    assert divergence(some, other).item() == pytest.approx(two, rel=1e-5)


@pytest.mark.parametrize("barred", [False, True])
def test_who_agrees_has_nothing_to_learn(barred: bool) -> None:
    """At p = q the divergence is 0, and so is its gradient; away from it, p - q."""
    z = torch.randn(5, ITEMS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if barred:
        z[:, 3] = -torch.inf
    log_q = z.log_softmax(1)
    same = z.clone().requires_grad_()
    loss = divergence(log_q, same.log_softmax(1))
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-12, rtol=0)
    loss.sum().backward()
    torch.testing.assert_close(same.grad, torch.zeros_like(z), atol=1e-12, rtol=0)
    apart = (z + torch.arange(ITEMS)).requires_grad_()
    divergence(log_q, apart.log_softmax(1)).sum().backward()
    torch.testing.assert_close(apart.grad, apart.detach().softmax(1) - log_q.exp())


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_answers_are_what_the_plain_loss_is_of(policy: Policy, copies: bool) -> None:
    one = untrained(1, copies=copies)
    windows = training_windows(events(), 6, 3, np.random.default_rng(0))
    log_p, following = answers(one.model, one.table, windows, policy)
    plain = next_item_log_likelihood(one.model, one.table, windows, policy)
    assert len(log_p) == len(plain) > 10
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(len(log_p)))
    # The plain loss sums in bfloat16.
    torch.testing.assert_close(log_p.gather(1, following[:, None])[:, 0], plain, atol=0.03, rtol=0)
    if policy == "exclude":
        assert log_p.isneginf().any()


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_the_loss_is_the_labels_and_half_the_distance(policy: Policy) -> None:
    teachers, own = [untrained(2), untrained(3)], untrained(1)
    windows = training_windows(events(), 6, 3, np.random.default_rng(0))
    losses = distilling(teachers, policy)(own.model, own.table, windows)
    log_p, following = answers(own.model, own.table, windows, policy)
    said = joint([answers(t.model, t.table, windows, policy)[0] for t in teachers])
    label = -log_p.gather(1, following[:, None])[:, 0]
    torch.testing.assert_close(losses, label + WEIGHT * divergence(said, log_p))
    assert (losses > label).all()
    # One that answers as both teachers do has its labels alone.
    alone = distilling([own, own], policy)(own.model, own.table, windows)
    torch.testing.assert_close(alone, label, atol=1e-5, rtol=0)
    losses.mean().backward()
    gradients = [p.grad for p in (*own.model.parameters(), *own.table.parameters())]
    assert all(g is None or torch.isfinite(g).all() for g in gradients)
    assert all(p.grad is None for t in teachers for p in (*t.model.parameters(), t.table.bias))


def trained(objective: Objective | None, log: Events, seed: int = 0) -> TrainedBackbone:
    return train_backbone(
        log,
        CONFIG,
        OPTIONS,
        n_items=ITEMS,
        validation_start=np.full(USERS, LENGTH - 2),
        test_start=np.full(USERS, LENGTH - 1),
        objective=objective,
        seed=seed,
        threads=1,
    )


def test_it_comes_nearer_to_its_teachers_and_is_the_same_twice() -> None:
    log = events()
    teachers = [trained(None, log, seed) for seed in (1, 2)]
    taught, alone = trained(distilling(teachers, "allow"), log), trained(None, log)
    again = trained(distilling(teachers, "allow"), log)
    windows = training_windows(log, 6, 3, np.random.default_rng(0))
    with torch.no_grad():
        said = joint([answers(t.model, t.table, windows, "allow")[0] for t in teachers])
        near, far = (
            float(divergence(said, answers(m.model, m.table, windows, "allow")[0]).mean())
            for m in (taught, alone)
        )
    assert near < 0.9 * far
    for name, weight in taught.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
    assert torch.equal(taught.table.vectors, again.table.vectors)
    assert not torch.equal(taught.table.vectors, alone.table.vectors)
