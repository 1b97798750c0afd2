from datetime import UTC, datetime
from random import Random

import pytest

from device_runtime.cloud.retry import BURST, RetryBudget, full_jitter, retry_after_s

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


def test_jitter_fills_the_whole_interval_and_grows_to_the_cap():
    rng = Random(0)
    for attempt, bound in ((1, 0.2), (2, 0.4), (3, 0.8), (4, 1.0), (2000, 1.0)):
        waits = [full_jitter(attempt, base_s=0.2, cap_s=1.0, rng=rng) for _ in range(2000)]
        assert 0.0 <= min(waits) < 0.02 * bound
        assert 0.98 * bound < max(waits) <= bound


def test_a_budget_of_zero_allows_no_retry_at_all():
    budget = RetryBudget(0.0)
    for _ in range(100):
        budget.first_attempt()
        assert not budget.take()


def test_five_calls_earn_one_retry_at_a_fifth():
    budget = RetryBudget(0.2)
    while budget.take():
        pass
    for _ in range(4):
        budget.first_attempt()
        assert not budget.take()
    budget.first_attempt()
    assert budget.take()
    assert not budget.take()


def test_credit_does_not_pile_up_over_a_quiet_day():
    budget = RetryBudget(0.5)
    for _ in range(10_000):
        budget.first_attempt()
    assert sum(budget.take() for _ in range(100)) == BURST


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("2", 2.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Wed, 01 May 2024 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_retry_after_in_both_forms(header, seconds):
    assert retry_after_s(header, NOW) == seconds
