"""Connections: what each open connection waits for, how long it may, and who goes when it is full.

A connection is in one phase at a time. Those that wait for their peer have a deadline that more
bytes do not extend: a request sent byte by byte ends like one not sent at all. When there is no
room left, the connection that has kept the server waiting longest makes room for a new one: silent
ones may fill the house, but nobody has to wait before its door.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Protocol

KEEP_ALIVE_S = 75  # clients of ours let go after 30 s, balancers after 60 s: never the server first


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "head"  # the rest of a request's head; the first one's from the moment of connecting
    IDLE = "idle"  # another request
    BODY = "body"  # the rest of a request's body
    BUSY = "busy"  # the application
    WRITING = "writing"  # the peer, to take more of an answer than fits into the buffers
    CLOSING = "closing"  # the peer, to take what was written


_FIRST_TO_GO = (Phase.CLOSING, Phase.HEAD, Phase.IDLE, Phase.BODY, Phase.WRITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds a connection may spend waiting for its peer.

    Attributes:
        head_s: for all of a request's head.
        body_s: for all of its body.
        idle_s: between requests.
        writing_s: for some of a large answer to be taken.
        closing_s: for the last bytes to be taken.
    """

    head_s: float = 10.0
    body_s: float = 20.0
    idle_s: float = KEEP_ALIVE_S
    writing_s: float = 30.0
    closing_s: float = 20.0

    def of(self, phase: Phase) -> float:
        """Seconds in ``phase``; without end while the application works."""
        match phase:
            case Phase.HEAD:
                return self.head_s
            case Phase.BODY:
                return self.body_s
            case Phase.IDLE:
                return self.idle_s + 1.0  # uvicorn's own timer comes first
            case Phase.WRITING:
                return self.writing_s
            case Phase.CLOSING:
                return self.closing_s
            case Phase.BUSY:
                return float("inf")


class Connection(Protocol):
    """What the registry may do to a connection."""

    def expire(self, phase: Phase) -> None:
        """Its time in ``phase`` is over: say so if anybody listens, and close."""

    def make_room(self) -> None:
        """Cut it at once; another one needs the place."""


class Connections:
    """The open connections of one server, by phase, the longest waiting first.

    Args:
        most: open at once.
        patience: with their peers.
    """

    def __init__(self, most: int, patience: Patience) -> None:
        self.most = most
        self._patience = patience
        self._since: dict[Phase, dict[Connection, float]] = {phase: {} for phase in Phase}
        self._phase: dict[Connection, Phase] = {}

    def __len__(self) -> int:
        return len(self._phase)

    def phase(self, connection: Connection) -> Phase | None:
        """Its phase; None for one that has gone."""
        return self._phase.get(connection)

    def enter(self, connection: Connection, now: float) -> bool:
        """Take in a new one; False when every other one is at work, so that it must be refused."""
        room = len(self) < self.most or self.shed(1, now) == 1
        self._put(connection, Phase.HEAD if room else Phase.CLOSING, now)
        return room

    def move(self, connection: Connection, phase: Phase, now: float) -> None:
        """Note its phase; its time in it starts now, unless it was in it already."""
        before = self._phase.get(connection)
        if before is None or before is phase:
            return
        del self._since[before][connection]
        self._put(connection, phase, now)

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        phase = self._phase.pop(connection, None)
        if phase is not None:
            del self._since[phase][connection]

    def shed(self, count: int, now: float) -> int:
        """Cut up to ``count`` of those that wait longest for their peer; how many there were."""
        cut = 0
        for phase in _FIRST_TO_GO:
            for victim in list(islice(self._since[phase], count - cut)):
                self.leave(victim)  # its descriptor is free in the next turn of the loop
                victim.make_room()
                cut += 1
        return cut

    def sweep(self, now: float) -> dict[Phase, int]:
        """End all whose time is over; how many there were of each phase."""
        ended: dict[Phase, int] = {}
        for phase in _FIRST_TO_GO:
            for connection in list(self._overdue(phase, now)):
                ended[phase] = ended.get(phase, 0) + 1
                self.move(connection, Phase.CLOSING, now)
                connection.expire(phase)
        return ended

    def _overdue(self, phase: Phase, now: float) -> Iterator[Connection]:
        before = now - self._patience.of(phase)
        for connection, since in self._since[phase].items():
            if since > before:
                return  # the order is that of time
            yield connection

    def _put(self, connection: Connection, phase: Phase, now: float) -> None:
        self._phase[connection] = phase
        self._since[phase][connection] = now
