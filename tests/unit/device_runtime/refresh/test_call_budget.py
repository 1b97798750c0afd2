import math

import numpy as np
import pytest

from device_runtime.refresh.call_budget import SLACK, CallBudget
from shared.refresh_file import CallRates

# Of score = age + a level per user: who asks at age a calls about once in a requests.
KNOWN = CallRates(
    thresholds=(0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 25.0, 50.0),
    rates=(1.0, 0.7, 0.5, 0.36, 0.27, 0.18, 0.12, 0.08, 0.04, 0.02),
)


def budget(share: float, seed: int = 0, known: CallRates | None = None) -> CallBudget:
    return CallBudget(share, np.random.default_rng(seed), known=known)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4])
def test_the_share_holds_over_the_first_requests_of_many_devices(share: float) -> None:
    devices = [budget(share, seed) for seed in range(1000)]
    asked = np.array([[one.decide(3.0) for _ in range(10)] for one in devices])
    assert asked.mean() == pytest.approx(share, rel=0.1)
    assert 0.5 * share < asked[:, 0].mean() < 1.5 * share


def test_it_picks_high_scores() -> None:
    scores = np.random.default_rng(5).standard_normal(4000)
    one = budget(0.1)
    asked = np.array([one.decide(score) for score in scores])[500:]
    best = scores[500:] >= np.quantile(scores, 0.9)
    # Chance would give 0.1; no online rule that keeps its account reaches 1.
    assert best[asked].mean() > 0.6


def test_equal_scores_are_picked_at_random_not_in_step() -> None:
    one = budget(0.2)
    at = np.flatnonzero([one.decide(0.0) for _ in range(2000)])
    assert len(at) == pytest.approx(400, abs=10)
    assert np.diff(at).std() > 2.0


def test_all_of_them_may_be_wanted() -> None:
    one = budget(1.0)
    assert all(one.decide(score) for score in (1.0, -5.0, math.nan, math.inf, 0.0) * 20)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_ten_requests_of_many_devices_come_near_the_share(share: float) -> None:
    """Scores that rise with the age of the snapshot, of users who differ."""
    rng = np.random.default_rng(8)
    realised = []
    for seed in range(400):
        level, age = rng.standard_normal(), int(rng.integers(1, 6))
        one = budget(share, seed, KNOWN)
        for _ in range(10):
            score = age + level + 0.5 * rng.standard_normal()
            realised.append(one.decide(score))
            age = 1 if realised[-1] else age + 1
    assert np.mean(realised) == pytest.approx(share, rel=0.2)


def test_what_scores_meant_in_training_decides_at_first_and_own_scores_later() -> None:
    """Training never saw scores this high: they win at once, and not for long."""
    one = budget(0.2, 3, KNOWN)
    scores = 100.0 + np.random.default_rng(2).random(4000)
    asked = np.array([one.decide(score) for score in scores])
    assert asked[:2].any()
    assert asked.mean() == pytest.approx(0.2, rel=0.05)
    assert scores[asked][500:].mean() > 100.75


def test_the_highest_need_is_met_at_once_and_then_within_the_account() -> None:
    one = budget(0.1)
    asked = [one.decide(math.inf) for _ in range(300)]
    assert asked[0]
    assert sum(asked) == pytest.approx(30, abs=2)
    assert max(np.diff(np.flatnonzero(asked))) <= 11


def test_unknown_scores_take_their_chance_and_leave_no_trace() -> None:
    one = budget(0.3)
    assert np.mean([one.decide(math.nan) for _ in range(1000)]) == pytest.approx(0.3, abs=0.03)
    scores = np.random.default_rng(1).standard_normal(1000)
    asked = np.array([[one.decide(s), one.decide(math.nan)] for s in scores])
    assert asked.mean() == pytest.approx(0.3, abs=0.01)


def test_time_without_any_chance_to_call_is_not_made_up_for_without_end() -> None:
    one = budget(0.1)
    assert not any(one.decide(0.0, able=False) for _ in range(5000))
    asked = [one.decide(0.0) for _ in range(400)]
    assert sum(asked) <= 0.1 * 400 + 2 * SLACK


def test_the_same_seed_decides_the_same() -> None:
    scores = np.random.default_rng(2).standard_normal(300)
    runs = [[one.decide(s) for s in scores] for one in (budget(0.2, 7), budget(0.2, 7))]
    assert runs[0] == runs[1]
    other = budget(0.2, 8)
    assert runs[0] != [other.decide(s) for s in scores]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_a_share_is_above_zero_and_at_most_one(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        budget(share)
