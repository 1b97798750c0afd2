from device_runtime.cloud.breaker import BreakerState, CircuitBreaker


def fail(breaker: CircuitBreaker, now: float) -> None:
    ticket = breaker.acquire(now)
    assert ticket is not None
    breaker.failure(ticket, now)


def opened(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(failures=3, open_s=10.0)
    for _ in range(3):
        fail(breaker, now)
    return breaker


def test_it_opens_after_failures_in_a_row_only():
    breaker = CircuitBreaker(failures=3, open_s=10.0)
    for _ in range(5):
        fail(breaker, 0.0)
        fail(breaker, 0.0)
        breaker.success(breaker.acquire(0.0))
    assert breaker.state(0.0) is BreakerState.CLOSED
    assert opened().state(0.0) is BreakerState.OPEN


def test_open_lets_nothing_through_until_its_time_is_over():
    breaker = opened(now=5.0)
    assert breaker.acquire(14.999) is None
    assert breaker.state(15.0) is BreakerState.HALF_OPEN
    assert breaker.acquire(15.0).probe


def test_half_open_lets_one_probe_through():
    breaker = opened()
    assert breaker.acquire(10.0).probe
    assert breaker.acquire(10.0) is None
    assert breaker.acquire(99.0) is None


def test_a_probes_success_closes_and_its_failure_opens_again():
    breaker = opened()
    breaker.success(breaker.acquire(10.0))
    assert breaker.state(10.0) is BreakerState.CLOSED
    assert not breaker.acquire(10.0).probe

    breaker = opened()
    breaker.failure(breaker.acquire(10.0), 12.0)
    assert breaker.state(21.9) is BreakerState.OPEN
    assert breaker.state(22.0) is BreakerState.HALF_OPEN


def test_an_abandoned_probe_leaves_room_for_the_next():
    breaker = opened()
    breaker.abandon(breaker.acquire(10.0))
    assert breaker.acquire(10.0).probe


def test_calls_from_before_the_opening_say_nothing_about_the_probe():
    breaker = CircuitBreaker(failures=2, open_s=10.0)
    late_success, late_failure = breaker.acquire(0.0), breaker.acquire(0.0)
    fail(breaker, 0.0)
    fail(breaker, 0.0)
    probe = breaker.acquire(10.0)
    breaker.success(late_success)
    breaker.failure(late_failure, 10.0)
    breaker.abandon(late_failure)
    assert breaker.state(10.0) is BreakerState.HALF_OPEN
    assert breaker.acquire(10.0) is None
    breaker.success(probe)
    assert breaker.state(10.0) is BreakerState.CLOSED
