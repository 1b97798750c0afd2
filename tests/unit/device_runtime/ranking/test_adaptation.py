"""Adaptive re-training without autograd, against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from device_runtime.ranking.adaptation import Residual, adapted, loss_and_pull

D, C, N = 6, 9, 4


def problem(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    states, vectors = rng.normal(size=(N, D)), rng.normal(size=(C, D))
    return states, vectors, rng.normal(size=C), rng.integers(0, C, N)


def matrix(residual: Residual) -> np.ndarray:
    return residual.pulls.T @ residual.states


def torch_loss(residual: torch.Tensor, given: tuple[np.ndarray, ...]) -> torch.Tensor:
    states, vectors, bias, target = (torch.from_numpy(a) for a in given)
    logits = (states + states @ residual.T) @ vectors.T + bias
    return torch.nn.functional.cross_entropy(logits, target)


@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_are_those_of_torch(seed: int) -> None:
    given = problem(seed)
    start = np.random.default_rng(seed + 50).normal(size=(D, D))
    residual = torch.from_numpy(start).requires_grad_()
    expected = torch_loss(residual, given)
    expected.backward()
    states, *rest = given
    loss, pull = loss_and_pull(states + states @ start.T, *rest)
    assert loss == pytest.approx(float(expected.detach()), abs=1e-12)
    assert residual.grad is not None
    np.testing.assert_allclose(pull.T @ states / N, residual.grad.numpy(), atol=1e-12)


def test_the_steps_are_those_of_torch_with_decay() -> None:
    given = problem()
    scale = float((given[0] ** 2).sum(1).mean())
    residual = torch.zeros(D, D, dtype=torch.float64, requires_grad=True)
    for _ in range(3):
        loss = torch_loss(residual, given)
        (gradient,) = torch.autograd.grad(loss, residual)
        step = 0.3 / scale * gradient + 0.3 * 0.1 * residual
        residual = (residual - step).detach().requires_grad_()
    found = adapted(*given, rate=0.3, decay=0.1, steps=3)
    np.testing.assert_allclose(matrix(found), residual.detach().numpy(), atol=1e-12)


def test_it_moves_the_state_towards_what_the_user_did() -> None:
    given = problem(3)
    states, *rest = given
    before, _ = loss_and_pull(states, *rest)
    residual = adapted(*given, rate=0.2, steps=10)
    moved = residual.moved(states)
    after, _ = loss_and_pull(moved, *rest)
    assert after < 0.9 * before
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, states + states @ matrix(residual).T, rtol=1e-5)
    np.testing.assert_allclose(moved[1], residual.moved(states[1]), rtol=1e-6)


def test_no_step_and_no_rate_leave_everything_as_it_was() -> None:
    given = problem()
    for residual in (adapted(*given, rate=0.5, steps=0), adapted(*given, rate=0.0)):
        np.testing.assert_array_equal(residual.moved(given[0]), given[0].astype(np.float32))


def test_large_scores_do_not_overflow() -> None:
    states, vectors, bias, target = problem()
    residual = adapted(1e3 * states, 1e3 * vectors, bias, target, rate=0.1)
    assert np.isfinite(residual.pulls).all()


def test_nonsense_is_refused() -> None:
    states, vectors, bias, target = problem()
    with pytest.raises(ValueError, match="no transition"):
        adapted(states[:0], vectors, bias, target[:0], rate=0.1)
    with pytest.raises(ValueError, match="not among the candidates"):
        adapted(states, vectors, bias, target + C, rate=0.1)
