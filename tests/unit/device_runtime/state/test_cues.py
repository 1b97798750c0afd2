import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from device_runtime.state import cues
from shared.bundle import CalibrationSpec


def test_order_of_the_vector_is_the_manifests():
    assert CalibrationSpec(gamma_max=1.0, top_l=5).cues == cues.CUES
    vector = cues.cue_vector(
        delta=7, drift=0.5, omega=-0.25, length=3.0, density=1.5, elapsed=2.5, turn=0.75, moved=True
    )
    assert vector.tolist() == [7.0, 0.5, -0.25, 3.0, 1.5, 2.5, 0.75, 1.0]
    assert vector.dtype == np.float32


@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_average_ranks_agree_with_scipy(levels):
    values = np.random.default_rng(levels).integers(0, levels, (7, 60))
    np.testing.assert_array_equal(cues.average_ranks(values), rankdata(values, axis=-1))


@pytest.mark.parametrize("levels", [3, 10_000])
def test_omega_is_scipys_spearman_over_the_semantic_top(levels):
    rng = np.random.default_rng(1)
    semantic, structural = rng.normal(size=80), rng.integers(0, levels, 80).astype(float)
    top = np.argsort(-semantic)[:50]
    expected = spearmanr(semantic[top], structural[top]).statistic
    assert float(cues.omega(semantic, structural, 50)) == pytest.approx(expected, abs=1e-12)


def test_omega_of_a_batch_is_omega_of_its_rows():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 4, 30))
    rows = [float(cues.omega(x, y, 20)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cues.omega(a, b, 20), rows, atol=1e-12)


def test_omega_knows_full_agreement_and_disagreement():
    scores = np.array([0.3, 0.1, 0.9, 0.5])
    assert float(cues.omega(scores, scores * 5 - 1, 4)) == 1.0
    assert float(cues.omega(scores, -scores, 4)) == -1.0


@pytest.mark.parametrize(
    ("semantic", "structural"), [([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]), ([1.0], [2.0]), ([], [])]
)
def test_omega_without_variation_is_zero_not_nan(semantic, structural):
    assert float(cues.omega(np.array(semantic), np.array(structural), 10)) == 0.0


def test_drift_is_a_distance():
    assert float(cues.drift([3.0, 0.0], [0.0, 4.0])) == 5.0
    assert cues.drift(np.ones((2, 3)), np.ones((2, 3))).tolist() == [0.0, 0.0]


def test_length_is_capped_by_the_window():
    assert cues.length(3, 50) == math.log(4)
    assert cues.length(500, 50) == math.log(51)


def test_density_is_events_per_day_since_the_oldest_event():
    ages = np.array([48.0, 20.0, 1.0], dtype=np.float32)
    assert cues.density(ages, has_time=True) == pytest.approx(math.log1p(1.5))
    assert cues.density(ages, has_time=False) == 0.0
    assert cues.density(ages[:0], has_time=True) == 0.0


def test_density_of_a_burst_is_bounded():
    assert cues.density(np.zeros(50, np.float32), has_time=True) == pytest.approx(math.log1p(1200))


def test_elapsed_is_logarithmic_and_never_negative():
    assert cues.elapsed([0.0, math.e - 1, -5.0]).tolist() == pytest.approx([0.0, 1.0, 0.0])


def test_turn_is_opposite_after_twelve_hours_and_back_after_a_day_or_a_week():
    assert cues.turn([8.0, 20.0, 14.0, 32.0, 1.0], [8.0, 8.0, 8.0, 8.0, 167.0]) == pytest.approx(
        [0.0, 1.0, 0.5, 0.0, (1 - math.cos(math.pi / 6)) / 2]
    )


def test_moved_says_whether_the_session_began_since():
    assert cues.moved([0, 2, 3, 1], [0, 2, 2, 0]).tolist() == [0.0, 0.0, 1.0, 1.0]


def test_sessions_begin_after_breaks_longer_than_the_limit():
    hours = np.cumsum([0.0, 1.0, cues.BREAK_HOURS, cues.BREAK_HOURS + 0.1, 0.5])
    assert cues.sessions_by_breaks(hours * 3600).tolist() == [0, 0, 0, 1, 1]
    assert cues.sessions_by_breaks([]).tolist() == []
