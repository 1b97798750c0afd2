"""An availability that is overruled by hand, and what stays true of the past."""

import pytest

from loadtest.timing.availability import AlwaysUp, PeriodicOutage
from loadtest.timing.switched_availability import SwitchedAvailability


def test_follows_the_plan_until_switched_and_again_afterwards() -> None:
    availability = SwitchedAvailability(PeriodicOutage(10, 4))
    assert [availability.is_up(t) for t in (0, 5, 6, 9, 10)] == [True, True, False, False, True]
    availability.switch("down", 12.0)
    availability.switch("up", 14.0)
    availability.switch("planned", 18.0)
    assert [availability.is_up(t) for t in (11.9, 12, 13.9, 14, 17)] == [
        True, False, False, True, True
    ]  # fmt: skip
    assert [availability.is_up(t) for t in (18, 19.9, 20, 26)] == [False, False, True, False]
    assert [availability.is_up(t) for t in (5, 6)] == [True, False]
    assert availability.intervals(30) == [(6, 10), (12, 14), (18, 20), (26, 30)]


def test_an_outage_that_runs_on_is_one_interval() -> None:
    availability = SwitchedAvailability(PeriodicOutage(10, 4))
    availability.switch("down", 7.0)
    availability.switch("planned", 8.0)
    assert availability.intervals(20) == [(6, 10), (16, 20)]
    assert availability.intervals(6.5) == [(6, 6.5)]


def test_is_not_switched_in_the_past() -> None:
    availability = SwitchedAvailability(AlwaysUp())
    availability.switch("down", 3.0)
    with pytest.raises(ValueError, match=r"3\.0 s"):
        availability.switch("up", 2.0)
    assert availability.mode == "down"
    assert availability.intervals(5) == [(3.0, 5)]
