"""KnownTokens: what tokens that have been verified say, so that each is verified once."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from shared.tokens import TokenClaims

MOST_TOKENS = 20_000  # some 10 MB


@dataclass(frozen=True, slots=True)
class KnownToken:
    """Attributes: claims of a verified token; pseudonym of its user."""

    claims: TokenClaims
    pseudonym: str


class KnownTokens:
    """Remembers the tokens seen last, until they expire; refused ones are not remembered.

    Kept under a keyed digest: tokens do not lie in memory, and how long a look-up takes tells
    nothing of a token that somebody guesses at. Only for as long as the ring of keys stays.

    Args:
        leeway_s: seconds for which an expired token is still good.
        most: tokens remembered.
    """

    def __init__(self, leeway_s: float, most: int = MOST_TOKENS):
        self._leeway_s = leeway_s
        self._most = most
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, KnownToken] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str, now: float) -> KnownToken | None:
        """The token if it has been verified and is still good at ``now`` (Unix seconds)."""
        digest = self._digest(token)
        known = self._known.get(digest)
        if known is None:
            return None
        if now >= known.claims.expires_s + self._leeway_s:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return known

    def add(self, token: str, known: KnownToken) -> None:
        """Remember a token that was verified just now."""
        self._known[self._digest(token)] = known
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), digest_size=16, key=self._key).digest()
