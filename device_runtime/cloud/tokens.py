"""TokenSource: the seam through which a device gets the token that names its user to the cloud."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class TokenUnavailable(Exception):
    """Whoever issues tokens gave none; the message says why."""


class TokenSource(Protocol):
    """Where a link's devices get their tokens. Both methods raise TokenUnavailable."""

    async def token(self, user: str) -> str:
        """The token that ``user``'s device carries; may have expired without its knowing."""

    async def renew(self, user: str, refused: str) -> str:
        """Another one, because the cloud has refused this one."""


class CarriedTokens:
    """Each device carries one token until the cloud refuses it; then a new one is asked for.

    Args:
        issue: user -> token, e.g. a call to an identity service; raises TokenUnavailable.
    """

    def __init__(self, issue: Callable[[str], Awaitable[str]]) -> None:
        self._issue = issue
        self._carried: dict[str, str] = {}

    async def token(self, user: str) -> str:
        carried = self._carried.get(user)
        return await self._fetch(user) if carried is None else carried

    async def renew(self, user: str, refused: str) -> str:
        carried = self._carried.get(user)
        # Another refresh of the same user may have renewed it meanwhile.
        return carried if carried not in (None, refused) else await self._fetch(user)

    async def _fetch(self, user: str) -> str:
        token = self._carried[user] = await self._issue(user)
        return token
