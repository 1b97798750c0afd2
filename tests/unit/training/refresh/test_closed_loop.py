import numpy as np
import pytest

from device_runtime.refresh.budgeted import Accumulated, RefreshIndex, drift_score
from device_runtime.refresh.policy import RefreshState
from training.refresh.closed_loop import accumulated, call_rate, indexed, measure_call_rates


def by_age(users: int, steps: int) -> np.ndarray:
    """Scores that are the snapshot's age."""
    t = np.arange(steps, dtype=float)
    return np.broadcast_to(t[:, None] - t[None, :], (users, steps, steps)).copy()


@pytest.mark.parametrize("every", [1, 2, 5, 8])
def test_a_threshold_on_the_age_calls_every_so_many_requests(every: int) -> None:
    assert call_rate(by_age(20, 41), every) == pytest.approx(1 / every, rel=0.05)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4, 0.9])
def test_scores_without_memory_call_as_often_as_they_are_high(share: float) -> None:
    scores = np.random.default_rng(0).random((400, 32, 32))
    assert call_rate(scores, 1 - share) == pytest.approx(share, rel=0.1)


def test_a_threshold_no_snapshot_has_reached_yet_is_rarely_reached() -> None:
    assert 0 < call_rate(by_age(50, 30), 1000.0) < 1 / 60


def test_rates_fall_from_always_to_hardly_ever_and_hold_in_another_loop() -> None:
    rng = np.random.default_rng(1)

    def world(users: int, steps: int) -> np.ndarray:
        own = rng.standard_normal(users)[:, None, None]
        return np.abs(by_age(users, steps)) ** 0.5 * np.exp(0.3 * own) + 0.3 * rng.standard_normal(
            (users, steps, steps)
        )

    rates = measure_call_rates(world(100, 32))
    assert rates is not None
    assert rates.rates[0] == 1.0
    assert rates.rates[-1] < 0.03
    for share in (0.1, 0.2, 0.4):
        threshold = np.interp(share, rates.rates[::-1], rates.thresholds[::-1])
        assert call_rate(world(200, 120), float(threshold)) == pytest.approx(share, rel=0.2)


def test_steps_that_a_user_never_made_are_no_requests() -> None:
    scores = by_age(30, 20)
    scores[10:, 8:] = np.nan
    assert call_rate(scores, 4.0) == pytest.approx(0.25, rel=0.05)
    assert call_rate(np.full((3, 5, 5), np.nan), 0.0) == 0.0


def test_scores_that_are_all_alike_say_nothing() -> None:
    assert measure_call_rates(np.zeros((4, 6, 6))) is None


@pytest.mark.parametrize(("ours", "theirs"), [(accumulated, Accumulated), (indexed, RefreshIndex)])
def test_walks_build_up_as_devices_do(ours, theirs) -> None:
    steps = 9
    scores = np.random.default_rng(0).standard_normal((3, steps, steps))
    scores[:, np.triu(np.ones((steps, steps), dtype=bool))] = np.nan  # no snapshot of later steps
    scores[2, 6:] = np.nan  # a shorter walk
    found = ours(scores)
    for user, tau in np.ndindex(3, steps):
        device = theirs(drift_score)
        for t in range(tau + 1, steps):
            state = RefreshState(
                requests_since_attempt=t - tau,
                has_snapshot=True,
                in_flight=False,
                delta=t - tau,
                omega=0.0,
                drift=scores[user, t, tau],
                r=0.5,
            )
            if np.isnan(scores[user, t, tau]):
                assert np.isnan(found[user, t, tau])
            else:
                assert found[user, t, tau] == pytest.approx(device(state))
