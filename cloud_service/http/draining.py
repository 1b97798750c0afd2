"""Draining: whether the service is about to stop, which readiness must say before it does."""

from __future__ import annotations

from shared.errors import ScalrecError


class Stopping(ScalrecError):
    """The service is about to stop; no secret to anybody."""


class Draining:
    """Whoever stops the service says so with ``begin``; a check of /readyz fails from then on."""

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> None:
        """The service stops soon: send nobody here any more."""
        self._begun = True

    async def check(self) -> None:
        """Raises Stopping once it has begun."""
        if self._begun:
            raise Stopping("the service is stopping; ask another replica")
