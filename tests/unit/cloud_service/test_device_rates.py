import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_service.limits import DeviceRates, RateLimited
from tests.support.devices import ManualClock


def taken(rates: DeviceRates, device: object = "a") -> bool:
    try:
        rates.take(device)
    except RateLimited:
        return False
    return True


def test_a_burst_then_the_lasting_rate() -> None:
    clock = ManualClock()
    rates = DeviceRates(60, 3, clock.time)
    assert [taken(rates) for _ in range(4)] == [True, True, True, False]
    clock.now += 1.0
    assert [taken(rates) for _ in range(2)] == [True, False]


def test_the_wait_it_names_is_enough_and_no_more() -> None:
    clock = ManualClock()
    rates = DeviceRates(6, 1, clock.time)
    rates.take("a")
    clock.now += 4.0
    with pytest.raises(RateLimited) as refusal:
        rates.take("a")
    assert refusal.value.retry_after_s == pytest.approx(6.0)
    clock.now += 5.99
    assert not taken(rates)
    clock.now += 0.02
    assert taken(rates)


def test_devices_are_forgotten_oldest_first_and_memory_is_bounded() -> None:
    rates = DeviceRates(1, 1, ManualClock().time, max_devices=10)
    for device in range(1000):
        rates.take(device)
        assert len(rates) <= 10
    assert not taken(rates, 999)
    rates.take(0)


def test_zero_sets_no_limit() -> None:
    rates = DeviceRates(0, 1, ManualClock().time)
    assert all(taken(rates) for _ in range(1000))
    assert len(rates) == 0


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 5), st.integers(1, 600))
def test_never_more_than_burst_plus_rate(pauses: list[float], burst: int, per_minute: int) -> None:
    clock = ManualClock()
    rates = DeviceRates(per_minute, burst, clock.time)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        allowed += taken(rates)
    assert allowed <= burst + clock.now * per_minute / 60 + 1e-6
