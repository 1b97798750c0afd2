"""Who has to go first, and when; without sockets."""

from __future__ import annotations

import pytest

from launch.listening.connections import Connections, Patience, Phase
from launch.listening.descriptors import FEWEST_CONNECTIONS, MOST_CONNECTIONS, connections_within
from launch.listening.lines import LineBudget

PATIENCE = Patience(head_s=10, body_s=20, idle_s=75, writing_s=30, closing_s=20)


class Peer:
    def __init__(self) -> None:
        self.expired: list[Phase] = []
        self.cut = False

    def expire(self, phase: Phase) -> None:
        self.expired.append(phase)

    def make_room(self) -> None:
        self.cut = True


def test_the_longest_silent_goes_first_then_the_idle_and_never_one_at_work() -> None:
    connections = Connections(4, PATIENCE)
    busy, idle, first, second = peers = [Peer() for _ in range(4)]
    for now, peer in enumerate(peers):
        assert connections.enter(peer, now)
    connections.move(busy, Phase.BUSY, 4)
    connections.move(idle, Phase.IDLE, 4)
    for victim in (first, second, idle):
        new = Peer()
        assert not victim.cut
        assert connections.enter(new, 5)
        assert victim.cut
        connections.move(new, Phase.BUSY, 5)
    assert not busy.cut
    assert len(connections) == 4


def test_nobody_goes_for_a_new_one_while_all_are_at_work() -> None:
    connections = Connections(2, PATIENCE)
    peers = [Peer(), Peer()]
    for peer in peers:
        connections.enter(peer, 0)
        connections.move(peer, Phase.BUSY, 0)
    refused = Peer()
    assert not connections.enter(refused, 1)
    assert not any(peer.cut for peer in peers)
    assert connections.phase(refused) is Phase.CLOSING
    # It is on its way out, and makes room for the next.
    connections.move(peers[0], Phase.IDLE, 2)
    assert connections.enter(Peer(), 3)


@pytest.mark.parametrize(
    ("phase", "limit_s"),
    [
        (Phase.HEAD, 10),
        (Phase.BODY, 20),
        (Phase.WRITING, 30),
        (Phase.IDLE, 76),
        (Phase.CLOSING, 20),
    ],
)
def test_each_wait_ends(phase: Phase, limit_s: float) -> None:
    connections, peer = Connections(10, PATIENCE), Peer()
    connections.enter(peer, 0)
    connections.move(peer, phase, 0)
    connections.move(peer, phase, 9)  # more of the same does not extend it
    assert connections.sweep(limit_s - 0.1) == {}
    assert connections.sweep(limit_s + 0.1) == {phase: 1}
    assert peer.expired == [phase]


def test_work_has_no_end_of_its_own() -> None:
    connections, peer = Connections(10, PATIENCE), Peer()
    connections.enter(peer, 0)
    connections.move(peer, Phase.BUSY, 0)
    assert connections.sweep(1e9) == {}
    connections.leave(peer)
    assert (len(connections), connections.phase(peer)) == (0, None)


@pytest.mark.parametrize("limit", [64, 256, 1024, 4096, 65_536, 10**6])
def test_descriptors_are_kept_for_what_is_no_connection(limit: int) -> None:
    most = connections_within(limit, opened=24, reserve=160)
    assert FEWEST_CONNECTIONS <= most <= MOST_CONNECTIONS
    if limit >= 256:
        assert limit - most >= 24 + min(160, limit // 2)


def test_lines_are_bounded_and_the_rest_is_told() -> None:
    now = [0.0]
    budget = LineBudget(lambda: now[0], lines=2, per_s=10)
    assert [budget.take() for _ in range(4)] == [0, 0, None, None]
    now[0] = 10.0
    assert budget.take() == 2
