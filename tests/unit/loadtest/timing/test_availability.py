import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadtest.settings import AvailabilitySettings
from loadtest.timing.availability import AlwaysUp, NeverUp, PeriodicOutage, availability_of
from shared.errors import ConfigError


def test_up_first_then_down_at_the_end_of_each_period() -> None:
    cloud = PeriodicOutage(30.0, 10.0)
    assert [cloud.is_up(t) for t in (0.0, 19.9, 20.0, 29.9, 30.0, 49.9, 50.0)] == [
        True, True, False, False, True, True, False,
    ]  # fmt: skip
    assert cloud.intervals(70.0) == [(20.0, 30.0), (50.0, 60.0)]
    assert cloud.intervals(55.0) == [(20.0, 30.0), (50.0, 55.0)]
    assert cloud.intervals(20.0) == []


@given(
    st.floats(0.5, 100.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 500.0),
)
def test_intervals_are_exactly_when_it_is_down(period: float, share: float, t: float) -> None:
    cloud = PeriodicOutage(period, period * share)
    edges = [e for interval in cloud.intervals(600.0) for e in interval]
    assume(all(abs(t - e) > 1e-6 for e in edges))  # rounding decides at the very edge
    assert cloud.is_up(t) != any(a <= t < b for a, b in cloud.intervals(600.0))


def test_always_and_never() -> None:
    assert AlwaysUp().is_up(5.0)
    assert AlwaysUp().intervals(9.0) == []
    assert not NeverUp().is_up(0.0)
    assert NeverUp().intervals(9.0) == [(0.0, 9.0)]


def test_warm_up_meets_the_cloud_of_the_start() -> None:
    assert PeriodicOutage(30.0, 10.0).is_up(-3.0)


def test_settings_choose() -> None:
    assert isinstance(availability_of(AvailabilitySettings(kind="always")), AlwaysUp)
    assert isinstance(availability_of(AvailabilitySettings(kind="never")), NeverUp)
    periodic = availability_of(AvailabilitySettings(kind="periodic", period_s=9, outage_s=3))
    assert isinstance(periodic, PeriodicOutage)
    assert (periodic.period_s, periodic.outage_s) == (9, 3)


def test_outage_longer_than_its_period_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        PeriodicOutage(10.0, 11.0)
