"""The fitted fusion against data whose best weights are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.studies.lsc4rec.learned_fusion import fit_fusion, list_features

R, N = 4000, 12


def drawn(weights: list[float], seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features [R, N, F] of unit variance, and targets drawn from the logit over them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(R, N, len(weights)))
    place = (x @ np.array(weights) + rng.gumbel(size=(R, N))).argmax(axis=1)
    return x, np.arange(N) == place[:, None]


def test_weights_that_drew_the_targets_are_found_again() -> None:
    x, is_target = drawn([1.5, -0.5, 0.0])
    found = fit_fusion(x, is_target, np.ones((R, N), dtype=bool))
    assert found.weights == pytest.approx([1.5, -0.5, 0.0], abs=0.08)


def test_a_side_that_knows_nothing_gets_no_weight_and_costs_no_rank() -> None:
    x, is_target = drawn([2.0, 0.0])
    fusion = fit_fusion(x, is_target, np.ones((R, N), dtype=bool))
    fused = fusion.scores(x).argmax(axis=1) == is_target.argmax(axis=1)
    alone = x[..., 0].argmax(axis=1) == is_target.argmax(axis=1)
    assert fused.mean() == pytest.approx(alone.mean(), abs=0.01)


def test_items_that_may_not_be_recommended_do_not_compete() -> None:
    x, is_target = drawn([1.0, 1.0])
    allowed = is_target | (np.random.default_rng(1).random((R, N)) < 0.5)
    banned = np.where(allowed[..., None], x, 50.0)
    known = fit_fusion(banned, is_target, allowed)
    assert known.weights / known.scale == pytest.approx([1.0, 1.0], abs=0.1)


def test_lists_without_their_target_teach_nothing() -> None:
    x, is_target = drawn([1.0, 1.0])
    nowhere = np.zeros_like(is_target)
    assert not fit_fusion(x, nowhere, np.ones((R, N), dtype=bool)).weights.any()


def test_features_of_a_list_written_out() -> None:
    initial = np.array([[-1.0, -2.0, -2.0]], dtype=np.float32)
    rerank = np.array([[0.0, 3.0, 1.0]], dtype=np.float32)
    popularity = np.array([[0, 1, 7]])
    found = list_features(initial, rerank, popularity)[0]
    expected = [
        [-1.0, 0.0, 0.0, -np.log(3), 0.0],
        [-2.0, 3.0, -np.log(2.5), 0.0, np.log(2)],
        [-2.0, 1.0, -np.log(2.5), -np.log(2), np.log(8)],
    ]
    assert found == pytest.approx(np.array(expected))
