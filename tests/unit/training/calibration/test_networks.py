"""Equations 10-21 against an independent numpy version, and the guarantees they give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runtime.ranking.calibration import bounded_correction
from training.calibration.age_rules import UNRULED
from training.calibration.fit import FittedCalibration
from training.calibration.inputs import Inputs
from training.calibration.networks import (
    N_CUES,
    Calibrator,
    Estimator,
    correction,
    joint_loss,
    kl_divergence,
    log_distribution,
    reliability_target,
)

numbers = st.floats(-20, 20, width=32)
scores = hnp.arrays(np.float32, (4, 6), elements=numbers)
masks = hnp.arrays(np.bool_, (4, 6)).map(lambda m: m | (np.arange(6) == 0))
temperatures = st.sampled_from([0.5, 1.0, 4.0])


def as_tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(a.copy()) for a in arrays]


def reference_softmax(z: np.ndarray, temperature: float, valid: np.ndarray) -> np.ndarray:
    weights = np.where(valid, np.exp((z - z.max()) / temperature), 0.0)
    return weights / weights.sum()


def reference_loss(
    fresh: np.ndarray,
    stale: np.ndarray,
    vectors: np.ndarray,
    valid: np.ndarray,
    r: float,
    v: np.ndarray,
    gamma_max: float,
    temperature: float,
    lambda_rel: float,
    lambda_reg: float,
) -> float:
    """Eqs. 13 and 15-21 for one pair, written out with loops in float64."""
    alpha = 1.0 - r
    size = np.sqrt(sum(x * x for x in v))
    lam = min(1.0, gamma_max * alpha / (size + 1e-8))
    corrected = stale + lam * v
    p, p_stale, p_corrected = (
        reference_softmax(np.array([e @ x for x in vectors]), temperature, valid)
        for e in (fresh, stale, corrected)
    )

    def kl(a: np.ndarray, b: np.ndarray) -> float:
        return sum(a[i] * np.log(a[i] / b[i]) for i in range(len(a)) if valid[i] and a[i] > 0)

    r_target = np.exp(-kl(p, p_stale))
    return kl(p, p_corrected) + lambda_rel * (r - r_target) ** 2 + lambda_reg * size**2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("gamma_max", [0.0, 0.3, 50.0])
def test_joint_loss_matches_numpy(temperature: float, gamma_max: float) -> None:
    rng = np.random.default_rng(5)
    B, C, d = 6, 9, 4
    fresh, stale, v = (rng.standard_normal((B, d)) for _ in range(3))
    vectors = rng.standard_normal((B, C, d))
    valid = rng.random((B, C)) < 0.7
    valid[:, 0] = True
    r = rng.uniform(0.05, 0.95, B)
    expected = np.mean(
        [
            reference_loss(
                *(a[b] for a in (fresh, stale, vectors, valid, r, v)),
                gamma_max, temperature, 0.7, 0.01,
            )
            for b in range(B)
        ]
    )  # fmt: skip
    t_fresh, t_stale, t_vectors, t_valid, t_r, t_v = as_tensors(fresh, stale, vectors, valid, r, v)
    corrected = t_stale + correction(t_v, 1 - t_r, gamma_max)
    logs = [
        log_distribution(torch.einsum("bd,bcd->bc", e, t_vectors), temperature, t_valid)
        for e in (t_fresh, t_stale, corrected)
    ]
    target = reliability_target(logs[0], logs[1], t_valid)
    loss = joint_loss(logs[0], logs[2], t_valid, t_r, target, t_v, lambda_rel=0.7, lambda_reg=0.01)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(a=scores, b=scores, valid=masks, temperature=temperatures)
def test_divergence_is_never_negative_and_ignores_what_is_outside(
    a: np.ndarray, b: np.ndarray, valid: np.ndarray, temperature: float
) -> None:
    ta, tb, tv = as_tensors(a.astype(np.float64), b.astype(np.float64), valid)
    log_p, log_q = (log_distribution(z, temperature, tv) for z in (ta, tb))
    divergence = kl_divergence(log_p, log_q, tv)
    assert (divergence >= -1e-9).all()
    target = reliability_target(log_p, log_q, tv)
    assert ((target > 0) | (divergence > 700)).all()
    assert (target <= 1).all()
    elsewhere = torch.where(tv, tb, tb + 100.0)
    changed = log_distribution(elsewhere, temperature, tv)
    torch.testing.assert_close(kl_divergence(log_p, changed, tv), divergence)
    torch.testing.assert_close(kl_divergence(log_p, log_p, tv), torch.zeros(4).double())


vectors = hnp.arrays(np.float32, (3, 5), elements=numbers)
alphas = hnp.arrays(np.float32, (3,), elements=st.floats(0, 1, width=32))


@settings(deadline=None)
@given(v=vectors, alpha=alphas, gamma_max=st.floats(0, 10))
def test_correction_stays_within_its_radius(
    v: np.ndarray, alpha: np.ndarray, gamma_max: float
) -> None:
    tv, ta = as_tensors(v, alpha)
    de = correction(tv, ta, gamma_max)
    assert torch.isfinite(de).all()
    assert (de.norm(dim=1) <= gamma_max * ta * (1 + 1e-5) + 1e-12).all()
    # The device computes the same thing.
    np.testing.assert_allclose(
        de.numpy(), bounded_correction(v, alpha, gamma_max), rtol=1e-5, atol=1e-6
    )


@settings(deadline=None)
@given(v=vectors, gamma_max=st.floats(0, 10))
def test_a_trusted_snapshot_is_left_alone(v: np.ndarray, gamma_max: float) -> None:
    (tv,) = as_tensors(v)
    assert not correction(tv, torch.zeros(3), gamma_max).any()


def test_at_full_reliability_the_fitted_networks_change_nothing() -> None:
    torch.manual_seed(2)
    estimator, calibrator = Estimator().eval(), Calibrator(5).eval()
    with torch.no_grad():
        estimator.mlp[-1].weight.zero_()
        estimator.mlp[-1].bias.fill_(100.0)  # r is 1 as a float
    stale, e_str, cues = torch.randn(9, 5), torch.randn(9, 5), torch.randn(9, N_CUES)
    fitted = FittedCalibration(
        estimator=estimator,
        calibrator=calibrator,
        gamma_max=4.0,
        helped=True,
        best_epoch=1,
        mean_reliability_target=0.5,
        rules=(UNRULED,),
        discount=(UNRULED,),
        gaps={},
    )
    corrected, r = fitted.correct(Inputs(cues, stale, (stale, e_str)))
    assert (r == 1.0).all()
    assert calibrator(stale, e_str).norm(dim=1).min() > 0  # something is proposed
    assert torch.equal(corrected, stale)
    with torch.no_grad():
        estimator.mlp[-1].bias.fill_(0.0)
    assert not torch.isclose(fitted.correct(Inputs(cues, stale, (stale, e_str)))[0], stale).all()


def test_proposals_within_the_radius_pass_unchanged() -> None:
    v = torch.tensor([[0.3, -0.4]])
    torch.testing.assert_close(correction(v, torch.ones(1), 2.0), v)
    torch.testing.assert_close(correction(v, torch.ones(1), 0.25), v / 2)


def test_eq_21_trains_both_networks() -> None:
    torch.manual_seed(0)
    B, C, d = 8, 12, 6
    estimator, calibrator = Estimator(dropout=0.0), Calibrator(d, dropout=0.0)
    stale, fresh, e_str = (torch.randn(B, d) for _ in range(3))
    items, valid = torch.randn(B, C, d), torch.ones(B, C, dtype=torch.bool)

    def gradients(gamma_max: float, lambda_rel: float) -> tuple[float, float]:
        for network in (estimator, calibrator):
            network.zero_grad()
        r, v = estimator(torch.randn(B, N_CUES)), calibrator(stale, e_str)
        corrected = stale + correction(v, 1 - r, gamma_max)
        logs = [
            log_distribution(torch.einsum("bd,bcd->bc", e, items), 1.0, valid)
            for e in (fresh, stale, corrected)
        ]
        target = reliability_target(logs[0], logs[1], valid)
        loss = joint_loss(
            logs[0], logs[2], valid, r, target, v, lambda_rel=lambda_rel, lambda_reg=0.0
        )
        loss.backward()
        sizes = [
            sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None)
            for network in (estimator, calibrator)
        ]
        return sizes[0], sizes[1]

    assert min(gradients(0.2, 1.0)) > 0
    # Even without L_rel the radius carries the distillation gradient into the estimator.
    assert min(gradients(0.2, 0.0)) > 0
    # Without a radius only L_rel is left, and it does not concern the calibrator.
    estimator_only = gradients(0.0, 1.0)
    assert estimator_only[0] > 0
    assert estimator_only[1] == 0


def test_normalisers_bring_inputs_to_unit_scale() -> None:
    torch.manual_seed(1)
    cues = torch.randn(500, 8) * torch.tensor([10.0, 0.1, 1.0, 2.0, 0.0, 3.0, 0.3, 0.5]) + 7
    estimator = Estimator()
    estimator.fit_normaliser(cues)
    normal = (cues - estimator.mean) * estimator.scale
    torch.testing.assert_close(normal.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    varied = [0, 1, 2, 3, 5, 6, 7]
    torch.testing.assert_close(normal.std(0)[varied], torch.ones(7), atol=0.01, rtol=0)
    assert not normal[:, 4].abs().gt(1e-5).any()  # a constant cue stays harmless
    calibrator = Calibrator(3)
    e_sem, e_str = torch.randn(500, 3) * 5 + 1, torch.randn(500, 3) * 0.01
    calibrator.fit_normaliser((e_sem, e_str))
    both = (torch.cat([e_sem, e_str], -1) - calibrator.mean) * calibrator.scale
    for half in both.chunk(2, -1):
        assert half.square().mean().item() == pytest.approx(1.0, abs=0.01)


def test_the_words_cue_is_a_cosine_and_harmless_without_length() -> None:
    torch.manual_seed(2)
    cues, e_sem, e_text = torch.randn(6, 8), torch.randn(6, 4), torch.randn(6, 4)
    estimator = Estimator(words=True).eval()
    assert estimator.inputs == ("cues", "e_sem", "e_text")
    estimator.fit_normaliser(cues, e_sem, e_text)
    cosine = torch.nn.functional.cosine_similarity(e_sem, e_text)
    torch.testing.assert_close(estimator.mean[-1], cosine.mean())
    r = estimator(cues, e_sem, e_text)
    torch.testing.assert_close(estimator(cues, e_sem * 30, e_text * 0.1), r)  # direction alone
    assert not torch.isclose(estimator(cues, e_sem, -e_text), r).any()
    nothing = e_text.zero_().requires_grad_()
    silent = estimator(cues, e_sem, nothing)
    silent.sum().backward()
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()
    right = (torch.zeros(6, 1) - estimator.mean[-1]) * estimator.scale[-1]
    nine = torch.cat([(cues - estimator.mean[:-1]) * estimator.scale[:-1], right], 1)
    torch.testing.assert_close(silent, torch.sigmoid(estimator.mlp(nine)[:, 0]))


def test_gradients_are_finite_at_a_zero_proposal() -> None:
    v = torch.zeros(2, 3, requires_grad=True)
    correction(v, torch.tensor([0.0, 1.0]), 1.0).sum().backward()
    assert v.grad is not None
    assert torch.isfinite(v.grad).all()
