"""CircuitBreaker: stop asking a cloud that does not answer. A pure state machine, no clock inside.

closed     calls pass; ``failures`` in a row open it
open       calls are refused until ``open_s`` seconds have passed
half-open  one call, the probe, may pass: its success closes the breaker, its failure opens it again

Every permitted call holds a ticket and gives it back with its outcome. A ticket from before the
breaker last changed its state says nothing about the cloud now and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """As recorded with every request."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Permission for one call."""

    generation: int
    probe: bool


class CircuitBreaker:
    """Args: failures in a row that open it; seconds it stays open."""

    def __init__(self, failures: int, open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failed = 0
        self._generation = 0
        self._opened_at: float | None = None
        self._probing = False

    def state(self, now: float) -> BreakerState:
        """State at ``now`` (seconds of any clock that does not go back)."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        over = now >= self._opened_at + self._open_s
        return BreakerState.HALF_OPEN if over else BreakerState.OPEN

    def acquire(self, now: float) -> Ticket | None:
        """A ticket when a call may pass, else None."""
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return Ticket(self._generation, probe=False)
        if state is BreakerState.OPEN or self._probing:
            return None
        self._probing = True
        return Ticket(self._generation, probe=True)

    def success(self, ticket: Ticket) -> None:
        """The cloud answered."""
        if ticket.generation != self._generation:
            return
        self._failed = 0
        if ticket.probe:
            self._opened_at = None
            self._probing = False
            self._generation += 1

    def failure(self, ticket: Ticket, now: float) -> None:
        """The cloud did not answer, or could not."""
        if ticket.generation != self._generation:
            return
        self._failed += 1
        if ticket.probe or self._failed >= self._limit:
            self._opened_at = now
            self._failed = 0
            self._probing = False
            self._generation += 1

    def abandon(self, ticket: Ticket) -> None:
        """The call was cancelled: it says nothing, but a probe's place is free again."""
        if ticket.generation == self._generation and ticket.probe:
            self._probing = False
