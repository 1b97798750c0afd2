import pytest

from device_runtime.abstract.week import moment_in_words, slot_in_words


@pytest.mark.parametrize(
    ("hour", "words"),
    [
        (0.0, "Monday night"),
        (5.0, "Monday early morning"),
        (36.0, "Tuesday midday"),
        (167.99, "Sunday late evening"),
        (168.0, "Monday night"),
        (-1.0, "Sunday late evening"),
    ],
)
def test_moments(hour, words):
    assert moment_in_words(hour) == words


@pytest.mark.parametrize(
    ("hour", "words"),
    [(9.0, "weekday morning"), (119.9, "weekday late evening"), (120.0, "weekend night")],
)
def test_slots(hour, words):
    assert slot_in_words(hour) == words
