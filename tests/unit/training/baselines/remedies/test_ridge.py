"""The linear corrector against closed forms, and where validation puts its penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.baselines.remedies.ridge import (
    INPUTS,
    LinearCorrector,
    design,
    fit_ridge,
    minus_error,
    ridge_path,
)
from training.calibration.inputs import Inputs, make_inputs
from training.calibration.pairs import block_pairs, top_candidates
from training.semantic.requests import Requests

D = 5
DIM, WINDOW = 6, 8  # of ``requests_of_log``


def drawn(
    pairs: int, seed: int = 0, noise: float = 0.0
) -> tuple[Inputs, torch.Tensor, NDArray[np.float64]]:
    """Inputs, e_sem(t) as a linear function of them, and the weights of that."""
    rng = np.random.default_rng(seed)
    parts = tuple(torch.from_numpy(rng.standard_normal((pairs, D))).float() for _ in INPUTS)
    weights = np.random.default_rng(7).standard_normal((D * len(INPUTS), D))
    x = torch.cat(parts, 1).double().numpy()
    y = 3.0 + x @ weights + noise * rng.standard_normal((pairs, D))
    return Inputs(torch.zeros(pairs, 8), parts[0], parts), torch.from_numpy(y), weights


def test_a_linear_truth_is_found() -> None:
    inputs, fresh, weights = drawn(400)
    found = fit_ridge(inputs, fresh, lambda c: minus_error(c, inputs, fresh), (1e-9, 1.0, 100.0))
    assert found.penalty == 1e-9
    np.testing.assert_allclose(found.weights, weights, atol=1e-6)
    np.testing.assert_allclose(found.offset, 3.0, atol=1e-6)
    other, unseen, _ = drawn(50, seed=1)
    np.testing.assert_allclose(found.of(other).numpy(), unseen.numpy(), atol=1e-4)
    assert found.of(other).dtype == torch.float32


@pytest.mark.parametrize("penalty", [1e-3, 0.3, 20.0])
def test_it_is_least_squares_with_rows_for_the_penalty(penalty: float) -> None:
    inputs, fresh, _ = drawn(60, noise=2.0)
    x, y = design(inputs), fresh.numpy()
    (found,) = ridge_path(x, y, [penalty])
    # Rows sqrt(P lambda) I with the answer 0; the column of ones goes unpenalised.
    rows = np.sqrt(len(x) * penalty) * np.eye(x.shape[1])
    left = np.vstack([np.c_[x, np.ones(len(x))], np.c_[rows, np.zeros(len(rows))]])
    right = np.vstack([y, np.zeros((len(rows), y.shape[1]))])
    expected = np.linalg.lstsq(left, right, rcond=None)[0]
    np.testing.assert_allclose(found.weights, expected[:-1], atol=1e-10)
    np.testing.assert_allclose(found.offset, expected[-1], atol=1e-10)


def test_of_white_inputs_weights_shrink_by_one_plus_lambda_and_at_last_to_the_mean() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((64, 6))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * 8.0  # centred columns, X'X = P
    y = rng.standard_normal((64, 2)) + 5.0
    plain = x.T @ (y - y.mean(axis=0)) / 64
    for found in ridge_path(x, y, [0.5, 4.0]):
        np.testing.assert_allclose(found.weights, plain / (1.0 + found.penalty), atol=1e-12)
    (last,) = ridge_path(x, y, [1e12])
    np.testing.assert_allclose(
        x @ last.weights + last.offset, np.tile(y.mean(0), (64, 1)), atol=1e-9
    )


def test_of_the_calibration_block_it_learns_what_the_parts_say(requests_of_log: Requests) -> None:
    """e_sem that follows e_str is known from the present e_str, whatever the snapshot's age."""
    requests, anchors = requests_of_log, requests_of_log.anchors
    follows = torch.from_numpy(np.random.default_rng(5).standard_normal((DIM, DIM))).float()
    e_sem = requests.e_str @ follows
    newest = np.flatnonzero(np.append(np.diff(anchors.user) != 0, True))
    block = np.sort(np.concatenate([newest - back for back in range(4)]))
    pairs = block_pairs(anchors, block, np.random.default_rng(0), partners=20)
    candidates = top_candidates(e_sem, requests.table.vectors.detach(), 10)
    inputs = make_inputs(requests, pairs, e_sem, candidates, INPUTS, window=WINDOW, top_l=5)
    fresh = e_sem[torch.from_numpy(pairs.fresh)]
    stale = pairs.fresh != pairs.stale
    asked = inputs.rows(torch.from_numpy(np.flatnonzero(stale)))  # fresh ones would tell e_sem(t)
    truth = fresh[torch.from_numpy(stale)]
    found = fit_ridge(asked, truth, lambda c: minus_error(c, asked, truth), (1e-8, 1.0))
    torch.testing.assert_close(found.of(asked), truth, atol=1e-3, rtol=0)
    # Normalised states repeat each other, so weights may differ; what each part is for may not.
    first, now, then, recent = asked.parts
    swapped = Inputs(asked.cues, asked.stale, (first, then, now, recent))
    assert (found.of(swapped) - truth).abs().mean() > 0.1


def test_inputs_that_repeat_each_other_are_no_trouble() -> None:
    inputs, fresh, _ = drawn(100)
    same = Inputs(inputs.cues, inputs.stale, (inputs.stale,) * len(INPUTS))
    found = fit_ridge(same, fresh, lambda c: minus_error(c, same, fresh))
    assert np.isfinite(found.weights).all()
    blocks = found.weights.reshape(len(INPUTS), D, D)
    np.testing.assert_allclose(blocks, np.broadcast_to(blocks[0], blocks.shape), atol=1e-8)


def test_validation_chooses_the_penalty_and_equal_ones_the_greater() -> None:
    inputs, fresh, _ = drawn(30, noise=20.0)  # fewer pairs than it could learn from
    held, truth, _ = drawn(500, seed=1, noise=20.0)
    found = fit_ridge(inputs, fresh, lambda c: minus_error(c, held, truth))
    errors = {
        c.penalty: minus_error(c, held, truth)
        for c in ridge_path(design(inputs), fresh.numpy(), (1e-5, 1e-1, 1.0, 10.0, 100.0))
    }
    assert found.penalty >= 1.0
    assert minus_error(found, held, truth) >= max(errors.values())
    assert errors[1e-5] < max(errors.values())
    assert fit_ridge(inputs, fresh, lambda _: 0.0, (0.1, 10.0, 1.0)).penalty == 10.0


def test_what_it_cannot_do_it_says() -> None:
    inputs, fresh, _ = drawn(4)
    fewer = Inputs(inputs.cues, inputs.stale, inputs.parts[:3])
    with pytest.raises(ValueError, match="reads e_sem, e_str, e_str_tau, recent, not 3 parts"):
        fit_ridge(fewer, fresh, lambda _: 0.0)
    with pytest.raises(ValueError, match="needs a pair"):
        ridge_path(np.empty((0, 4)), np.empty((0, 2)), [1.0])
    with pytest.raises(ValueError, match="above 0"):
        ridge_path(np.ones((2, 4)), np.ones((2, 2)), [0.0, 1.0])


def test_sums_are_in_float64() -> None:
    """Embeddings far from the origin: in float32 their spread would be lost."""
    inputs, fresh, weights = drawn(200)
    x = design(inputs) + 1e5
    (found,) = ridge_path(x, fresh.numpy(), [1e-9])
    np.testing.assert_allclose(found.weights, weights, atol=1e-4)
    corrector = LinearCorrector(weights, np.full(D, 3.0), 1.0)
    assert minus_error(corrector, inputs, fresh) > -1e-9
