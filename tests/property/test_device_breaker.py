"""Breaker and retry budget under any sequence of calls."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from device_runtime.cloud.breaker import BreakerState, CircuitBreaker
from device_runtime.cloud.retry import BURST, RetryBudget, full_jitter

FAILURES, OPEN_S = 3, 10.0


class BreakerMachine(RuleBasedStateMachine):
    """Calls start, end in any order and any way, while time passes."""

    def __init__(self):
        super().__init__()
        self.breaker = CircuitBreaker(FAILURES, OPEN_S)
        self.now = 0.0
        self.tickets = []
        self.failed_in_a_row = 0

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def begin(self):
        state = self.breaker.state(self.now)
        ticket = self.breaker.acquire(self.now)
        if state is BreakerState.OPEN:
            assert ticket is None
        elif state is BreakerState.CLOSED:
            assert not ticket.probe
        else:
            assert (ticket is None) == any(t.probe for t in self.tickets)
        if ticket is not None:
            self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "abandon"]))
    def end(self, data, how):
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        before = self.breaker.state(self.now)
        if how == "failure":
            self.breaker.failure(ticket, self.now)
        else:
            getattr(self.breaker, how)(ticket)
        after = self.breaker.state(self.now)
        if how == "abandon":
            assert after is before
        if ticket.probe and how != "abandon":
            assert after is (BreakerState.CLOSED if how == "success" else BreakerState.OPEN)
        if before is BreakerState.OPEN:
            assert after is BreakerState.OPEN, "only time and a probe may end the open state"

    @invariant()
    def at_most_one_probe(self):
        assert sum(ticket.probe for ticket in self.tickets) <= 1

    @invariant()
    def it_never_locks_up(self):
        if not self.tickets:
            assert self.breaker.state(self.now + OPEN_S) is not BreakerState.OPEN


TestBreakerMachine = BreakerMachine.TestCase


@given(st.floats(0, 3, allow_subnormal=False), st.lists(st.integers(0, 5), max_size=200))
def test_retries_never_exceed_the_ratio_and_the_burst(ratio, wanted):
    budget, retries = RetryBudget(ratio), 0
    for calls, tries in enumerate(wanted, start=1):
        budget.first_attempt()
        retries += sum(budget.take() for _ in range(tries))
        assert retries <= ratio * calls + BURST + 1e-6
        assert ratio > 0 or retries == 0


@given(st.integers(1, 10_000), st.floats(1e-3, 10), st.floats(1e-3, 100), st.integers(0, 2**32))
def test_jitter_stays_within_its_bounds(attempt, base, cap, seed):
    wait = full_jitter(attempt, base_s=base, cap_s=cap, rng=Random(seed))
    assert 0.0 <= wait <= cap
    assert attempt > 50 or wait <= base * 2.0 ** (attempt - 1)
