import numpy as np
import pytest

from device_runtime.ranking.calibration import bounded_correction, correction_strength


def test_a_short_proposal_passes_unchanged_and_a_long_one_is_cut_to_the_radius():
    v = np.array([3.0, 4.0])
    np.testing.assert_allclose(bounded_correction(v, 1.0, 10.0), [3.0, 4.0], rtol=1e-6)
    np.testing.assert_allclose(bounded_correction(v, 0.5, 2.0), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.0, 4.0), (1.0, 0.0)])
def test_no_strength_or_no_radius_means_no_correction(alpha, gamma):
    assert not bounded_correction(np.ones(8), alpha, gamma).any()


def test_rows_of_a_batch_are_bounded_each_by_its_own_alpha():
    de = bounded_correction(np.full((2, 4), 5.0), np.array([0.1, 0.2]), 1.0)
    np.testing.assert_allclose(np.linalg.norm(de, axis=1), [0.1, 0.2], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_proposal_that_is_not_finite_corrects_nothing_and_spares_its_neighbours(bad):
    de = bounded_correction(np.array([[bad, 1.0], [0.3, 0.4]]), np.array([1.0, 1.0]), 9.0)
    np.testing.assert_allclose(de, [[0.0, 0.0], [0.3, 0.4]], rtol=1e-6)
    assert not bounded_correction(np.array([bad, 1.0]), 1.0, 9.0).any()


@pytest.mark.parametrize(
    ("r", "alpha"), [(0.25, 0.75), (1.0, 0.0), (0.0, 1.0), (-3.0, 1.0), (7.0, 0.0)]
)
def test_strength_is_one_minus_reliability_within_bounds(r, alpha):
    assert correction_strength(r) == alpha


def test_an_undefined_reliability_leaves_the_snapshot_alone():
    assert correction_strength(float("nan")) == 0.0
