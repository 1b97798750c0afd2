import numpy as np
import pytest

from device_runtime.state.features import age_hours, time_features
from device_runtime.state.history import History, RequestContext


def filled(n: int, window: int = 4, retain: str = "all") -> History:
    history = History(window, retain)  # type: ignore[arg-type]
    for i in range(n):
        history.append(i, 3600.0 * i, float(i))
    return history


@pytest.mark.parametrize("n", [0, 1, 4, 5, 16, 17, 200])
def test_all_events_are_kept_and_the_window_is_the_last_ones(n):
    history = filled(n)
    assert history.items.tolist() == list(range(n))
    assert history.total == len(history) == n
    window = history.window()
    assert window.items.tolist() == list(range(max(0, n - 4), n))
    assert window.time.tolist() == [3600.0 * i for i in range(max(0, n - 4), n)]


def test_a_bounded_history_forgets_but_keeps_counting():
    history = filled(1000, retain="window")
    assert history.items.tolist() == [996, 997, 998, 999]
    assert history.total == 1000
    assert len(history._items) <= 32, "memory must not grow with the number of events"


def test_a_skipped_event_counts_as_a_step_only():
    history = filled(2)
    history.skip()
    assert history.total == 3
    assert history.items.tolist() == [0, 1]


def test_hours_are_wrapped_into_the_week_and_nan_is_harmless():
    history = History(3)
    history.append(0, None, 170.5)
    history.append(0, None, float("nan"))
    assert history.window().hour.tolist() == [2.5, 0.0]
    assert np.isnan(history.window().time).all()


def test_a_window_of_no_event_is_refused():
    with pytest.raises(ValueError, match="window"):
        History(0)


def test_ages_are_hours_and_never_negative_or_nan():
    times = np.array([0.0, 7200.0, np.nan, 36000.0])
    assert age_hours(times, 10800.0).tolist() == [3.0, 1.0, 0.0, 0.0]
    assert age_hours(times[:0], 10800.0).tolist() == []
    assert age_hours(times, None).tolist() == [0.0] * 4


def test_no_event_is_younger_than_one_that_follows_it():
    set_back = np.array([0.0, 18000.0, 7200.0, np.nan, 10800.0])
    assert age_hours(set_back, 21600.0).tolist() == [6.0, 4.0, 4.0, 3.0, 3.0]


def test_large_unix_times_keep_their_difference():
    """float32 seconds of today are 128 s apart: the difference must be taken in float64."""
    assert age_hours(np.array([1.7e9]), 1.7e9 + 36.0)[0] == pytest.approx(0.01, rel=1e-6)


def test_features_are_zero_for_a_log_without_times():
    window = filled(3).window()
    features = time_features(window, RequestContext(1e9, 33.0), has_time=False)
    assert not features.age_hours.any()
    assert not features.event_hour.any()
    assert features.request_hour == 0.0


def test_features_of_a_log_with_times():
    features = time_features(filled(3).window(), RequestContext(14400.0, 172.0), has_time=True)
    assert features.age_hours.tolist() == [4.0, 3.0, 2.0]
    assert features.event_hour.tolist() == [0.0, 1.0, 2.0]
    assert features.request_hour == 4.0
    assert features.age_hours.dtype == features.event_hour.dtype == np.float32
