"""The loss against a slow, independent count over dense score vectors."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from training.backbone.batches import Events, training_windows
from training.backbone.item_table import ItemParameters
from training.backbone.objective import (
    linear_logsumexp,
    next_item_log_likelihood,
    sampled_logsumexp,
)
from training.encoders.sasrec import SASRec, SASRecConfig

ITEMS, DIM = 9, 8


@pytest.fixture
def events() -> Events:
    rng = np.random.default_rng(5)
    return Events(
        item=rng.integers(0, ITEMS, 23),
        local_hour=rng.uniform(0, 168, 23).astype(np.float32),
        user_start=np.array([0, 4, 15, 23]),
        time_s=np.concatenate([np.sort(rng.uniform(0, 1e6, n)) for n in (4, 11, 8)]),
    )


def slow_log_p(
    model: SASRec, table: ItemParameters, events: Events, target: int, start: int, exclude: bool
) -> float:
    """log softmax of the structural score, item by item, for one request."""
    assert events.time_s is not None
    history = events.item[start:target].tolist()
    age = torch.tensor((events.time_s[target] - events.time_s[start:target]) / 3600.0)
    e_str, copy_logit = model(
        table(torch.tensor([history])),
        age[None].float(),
        torch.tensor(events.local_hour[start:target])[None],
        torch.tensor(events.local_hour[target : target + 1]),
    )
    scores = {}
    for i in range(ITEMS):
        if exclude and i in history:
            continue
        copied = sum(
            math.exp(c) for x, c in zip(history, copy_logit[0].tolist(), strict=True) if x == i
        )
        base = (e_str[0] @ table.vectors[i] + table.bias[i]).item()
        scores[i] = base + (0.0 if exclude else math.log(1.0 + copied))
    return scores[int(events.item[target])] - math.log(sum(math.exp(s) for s in scores.values()))


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_log_likelihood_equals_a_slow_count(
    events: Events, policy: Literal["allow", "exclude"]
) -> None:
    torch.manual_seed(1)
    model, table = SASRec(SASRecConfig(dim=DIM, window=6)).eval(), ItemParameters(ITEMS, DIM)
    with torch.no_grad():
        table.bias.normal_()
    windows = training_windows(events, 6, 3, np.random.default_rng(0))
    got, want = [], []
    for row in range(len(windows)):
        one = windows.rows(torch.tensor([row]))
        got += next_item_log_likelihood(model, table, one, policy).tolist()
        request = int(
            np.flatnonzero(np.isclose(events.local_hour, one.request_hour.item()))[0]
        )  # hours are unique here, so they name the event
        first = request - int(one.length)
        for place in torch.nonzero(one.wanted[0])[:, 0].tolist():
            target = first + place + 1
            if policy == "exclude" and events.item[target] in events.item[first:target]:
                continue
            want.append(
                slow_log_p(model, table, events, target, first, exclude=policy == "exclude")
            )
    assert len(got) == len(want) > 10
    np.testing.assert_allclose(got, want, atol=0.02)  # bfloat16 keeps about three digits


def test_linear_logsumexp_and_its_gradient_equal_the_plain_ones() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(30, DIM), torch.randn(ITEMS, DIM), torch.randn(ITEMS)]
    exclude = torch.tensor([[2, 2]] * 30)
    fast = [p.clone().requires_grad_() for p in parts]
    slow = [p.clone().requires_grad_() for p in parts]
    got = linear_logsumexp(fast[0], fast[1], fast[2], exclude)
    scores = slow[0] @ slow[1].T + slow[2]
    want = scores.scatter(1, exclude, -math.inf).logsumexp(1)
    torch.testing.assert_close(got, want, atol=0.05, rtol=0.02)
    weight = torch.randn(30)
    (got * weight).sum().backward()
    (want * weight).sum().backward()
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=0.05, rtol=0.05)
    assert (fast[1].grad[2] == 0).all()


def test_sampled_logsumexp_approaches_the_full_one() -> None:
    torch.manual_seed(0)
    state, vectors, bias = torch.randn(6, DIM), torch.randn(ITEMS, DIM), torch.randn(ITEMS)
    target = torch.arange(6)
    scores = state @ vectors.T + bias
    base = scores[torch.arange(6), target]
    sample = torch.randint(0, ITEMS, (60_000,))
    got = sampled_logsumexp(state, vectors, bias, target, base, sample)
    torch.testing.assert_close(got, scores.logsumexp(1), atol=0.05, rtol=0.0)
    exclude = torch.tensor([[7, 8]] * 6)
    got = sampled_logsumexp(state, vectors, bias, target, base, sample, exclude)
    want = scores[:, :7].logsumexp(1)
    torch.testing.assert_close(got, want, atol=0.05, rtol=0.0)


def test_the_loss_falls_when_the_target_is_in_the_history(events: Events) -> None:
    """Gradients reach the copy head and stay finite for targets that were never seen."""
    model, table = SASRec(SASRecConfig(dim=DIM, window=6)), ItemParameters(ITEMS, DIM)
    windows = training_windows(events, 6, 6, np.random.default_rng(0))
    (-next_item_log_likelihood(model, table, windows).mean()).backward()
    gradients = [p.grad for p in (*model.parameters(), *table.parameters())]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert model.copy is not None
    assert model.copy.distance_bias.grad.abs().sum() > 0
