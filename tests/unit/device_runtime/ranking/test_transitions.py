"""What a device remembers to re-train itself with, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from device_runtime.ranking.adaptation import adapted
from device_runtime.ranking.transitions import Transitions
from device_runtime.state.item_vectors import Float32Table, ItemVectors, KnownItems, MetVectors
from shared.bundle import CollaborationSpec
from shared.packed import pack

D, ITEMS = 6, 20
RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((ITEMS, D)).astype(np.float32)
BIAS = RNG.standard_normal(ITEMS).astype(np.float32)
STATES = RNG.standard_normal((8, D)).astype(np.float32)
LISTED = np.array([4, 9, 2, 15], np.int32)
SPEC = CollaborationSpec(adaptation_rate=0.5, adaptation_steps=3, adaptation_transitions=3)


def table() -> ItemVectors:
    return Float32Table(VECTORS, BIAS)


def gathered(pairs: list[tuple[int | None, int | None]]) -> Transitions:
    """(place of the state, or None without history; item that came, or None if unknown)."""
    found = Transitions(SPEC)
    for state, item in pairs:
        found.asked(None if state is None else STATES[state])
        found.observe(item)
    return found


def by_hand(pairs: list[tuple[int, int]], e_str: np.ndarray) -> np.ndarray:
    among = sorted({item for _, item in pairs} | set(LISTED.tolist()))
    residual = adapted(
        STATES[[state for state, _ in pairs]],
        VECTORS[among],
        BIAS[among],
        np.array([among.index(item) for _, item in pairs]),
        rate=SPEC.adaptation_rate,
        steps=SPEC.adaptation_steps,
    )
    return np.asarray(residual.moved(e_str) - e_str)


def test_the_latest_transitions_are_learned_from() -> None:
    found = gathered([(0, 7), (1, 4), (2, 7), (3, 11)])
    shift = found.shift(STATES[5], table(), LISTED)
    assert shift is not None
    expected = by_hand([(1, 4), (2, 7), (3, 11)], STATES[5])  # an item may be met twice, or listed
    np.testing.assert_allclose(shift, expected, atol=1e-6)
    assert np.abs(shift).max() > 0.01


def test_what_nothing_was_asked_before_teaches_nothing() -> None:
    found = gathered([(0, 7), (None, 4), (2, None)])
    found.observe(9)  # no request since the event before
    shift = found.shift(STATES[5], table(), LISTED)
    assert shift is not None
    np.testing.assert_allclose(shift, by_hand([(0, 7)], STATES[5]), atol=1e-6)


def test_of_several_requests_before_an_event_the_last_counts() -> None:
    found = Transitions(SPEC)
    found.asked(STATES[0])
    found.asked(STATES[1])
    found.observe(7)
    shift = found.shift(STATES[5], table(), LISTED)
    assert shift is not None
    np.testing.assert_allclose(shift, by_hand([(1, 7)], STATES[5]), atol=1e-6)


def test_an_item_without_a_vector_is_left_out() -> None:
    starter = np.array([2, 4, 7, 9, 15], np.int32)
    packed = pack(VECTORS[starter], BIAS[starter])
    known = MetVectors(4, D, KnownItems(starter, packed))
    found = gathered([(0, 11), (1, 7)])  # no page ever told this device of item 11
    shift = found.shift(STATES[5], known, LISTED)
    assert shift is not None
    np.testing.assert_allclose(shift, by_hand([(1, 7)], STATES[5]), atol=0.1)  # int8 vectors
    assert gathered([(0, 11)]).shift(STATES[5], known, LISTED) is None


@pytest.mark.parametrize("pairs", [[], [(None, 3)]])
def test_without_a_transition_nothing_moves(pairs: list[tuple[int | None, int | None]]) -> None:
    assert gathered(pairs).shift(STATES[5], table(), LISTED) is None


def test_a_rate_of_zero_costs_nothing() -> None:
    still = Transitions(CollaborationSpec())
    still.asked(STATES[0])
    still.observe(7)
    assert still.shift(STATES[5], table(), LISTED) is None
