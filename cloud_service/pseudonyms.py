"""Pseudonyms: users in logs, recognisable to whoever reads them and named to nobody."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from shared.tokens import KeyRing


class Pseudonyms:
    """Keyed hashes of user ids.

    Of the ring's signing key, so that replicas agree; they change when that key does. Without a
    ring they hold for this process only. Plain hashes would not do: user ids can be guessed.
    """

    def __init__(self, ring: KeyRing | None):
        secret = secrets.token_bytes(32) if ring is None else ring.signing[1]
        self._key = hmac.digest(secret, b"scalrec user pseudonyms", hashlib.sha256)

    def of(self, user: str) -> str:
        """16 hexadecimal digits."""
        return hmac.digest(self._key, user.encode(), hashlib.sha256)[:8].hex()
