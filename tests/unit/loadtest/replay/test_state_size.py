from dataclasses import dataclass

import numpy as np

from loadtest.replay.state_size import own_bytes


@dataclass(slots=True)
class Slotted:
    array: object


class Plain:
    def __init__(self, thing: object) -> None:
        self.thing = thing


def test_arrays_count_their_buffer_once_also_as_views() -> None:
    buffer = np.zeros(10_000)
    assert 80_000 < own_bytes(buffer) < 80_400
    assert 80_000 < own_bytes(Plain([buffer[:5], Slotted(buffer[3:])])) < 81_500


def test_what_is_shared_does_not_count() -> None:
    table = np.zeros(10_000)
    one = Slotted((table, np.zeros(100)))
    assert own_bytes(one) > 80_000
    assert own_bytes(one, shared=[table]) < 1_500


def test_cycles_end() -> None:
    one = Plain(None)
    one.thing = [one]
    assert own_bytes(one) < 2_000
