"""Device tokens: who may ask the cloud about which user, signed with keys that rotate.

A token is a JWT (RFC 7519) signed with HMAC-SHA256. Its header names the key (``kid``); its claims
are ``sub`` (the user), ``dev`` (the device), ``aud`` (always ``scalrec-cloud``), ``iat`` and
``exp``. A key ring is text, one ``KID:BASE64URL`` per line or comma: the first key signs, all are
accepted, so that a new key is put in front and the old one leaves when its last token has expired.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from shared.errors import ConfigError, TokenRefused
from shared.schemas import USER_PATTERN

ALGORITHM = "HS256"
AUDIENCE = "scalrec-cloud"
DEFAULT_DEVICE = "main"
KEY_BYTES = 32
TOKEN_TTL_S = 86400.0
MAX_TOKEN_CHARS = 1024
LAST_MOMENT_S = 253_402_300_799  # the last second of the year 9999
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_USER = re.compile(USER_PATTERN)


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says.

    Attributes:
        user: the only user it is good for.
        device: which of the user's devices carries it.
        expires_s: Unix seconds.
    """

    user: str
    device: str
    expires_s: float


@dataclass(frozen=True)
class KeyRing:
    """Signing keys by id, at least one; the first signs. Never prints a key."""

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, source: str) -> KeyRing:
        """Read ``KID:BASE64URL`` entries; lines starting with # are comments.

        Raises ConfigError naming ``source`` and the entry's place, never its content.
        """
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        entries = [entry.strip() for line in lines for entry in line.split(",") if entry.strip()]
        keys: dict[str, bytes] = {}
        for place, entry in enumerate(entries, 1):
            key_id, _, encoded = entry.partition(":")
            key = _decoded(encoded)
            if not _KEY_ID.fullmatch(key_id) or key is None or len(key) < KEY_BYTES:
                raise ConfigError(
                    f"{source}: key {place} is not KID:BASE64URL of {KEY_BYTES} bytes or more; "
                    "make one with `scalrec token keygen`"
                )
            if key_id in keys:
                raise ConfigError(f"{source}: key id {key_id} is there twice")
            keys[key_id] = key
        if not keys:
            raise ConfigError(f"{source} holds no key; make one with `scalrec token keygen`")
        return cls(keys)

    @property
    def signing(self) -> tuple[str, bytes]:
        """Id and bytes of the key that signs."""
        return next(iter(self.keys.items()))


def new_key(key_id: str | None = None) -> str:
    """A fresh ``KID:BASE64URL`` entry from the system's entropy."""
    name = secrets.token_hex(4) if key_id is None else key_id
    if not _KEY_ID.fullmatch(name):
        raise ConfigError("a key id is 1 to 32 letters, digits, dots, dashes and underscores")
    encoded = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()
    return f"{name}:{encoded}"


class TokenIssuer:
    """Makes tokens with the ring's first key.

    Args:
        ring: shared with the cloud.
        ttl_s: life of a token, seconds.
        now: Unix seconds.
    """

    def __init__(self, ring: KeyRing, ttl_s: float, now: Callable[[], float]):
        self._ring = ring
        self._ttl_s = ttl_s
        self._now = now

    def issue(self, user: str, device: str = DEFAULT_DEVICE) -> str:
        """A token for ``device`` of ``user``.

        Raises ConfigError for a name or a life that ``verify_token`` would not take.
        """
        if not _USER.fullmatch(user):
            raise ConfigError(f"{user!r} is no user id: it must match {USER_PATTERN}")
        if not _DEVICE.fullmatch(device):
            raise ConfigError("a device is 1 to 64 letters, digits, dots, dashes and underscores")
        issued = self._now()
        if not 0 <= issued + self._ttl_s <= LAST_MOMENT_S:
            raise ConfigError("a token expires in the year 9999 at the latest: shorten its life")
        claims = {
            "sub": user,
            "dev": device,
            "aud": AUDIENCE,
            "iat": int(issued),
            "exp": int(issued + self._ttl_s),
        }
        key_id, key = self._ring.signing
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id})


def verify_token(token: str, ring: KeyRing, *, now: float, leeway_s: float = 0.0) -> TokenClaims:
    """The claims of a token that one of the ring's keys signed and that has not expired.

    The signature is compared in constant time, and only HMAC-SHA256 is ever accepted, whatever
    the token's own header says.

    Args:
        now: Unix seconds; a replay under a virtual clock brings its own.
        leeway_s: seconds for which an expired token is still good, for clocks that disagree.

    Raises:
        TokenRefused: it is none of that; says which.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused("malformed", f"a token has {MAX_TOKEN_CHARS} characters at most")
    try:
        key = ring.keys.get(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            raise TokenRefused("unknown-key", "the token's signing key is not accepted any more")
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            options={
                "require": ["sub", "dev", "exp", "aud"],
                # Below: against the cloud's clock, and by stricter types than the library's.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise TokenRefused("signature", "the token's signature does not fit") from error
    except jwt.InvalidAudienceError as error:
        raise TokenRefused("audience", "the token was made for another service") from error
    except jwt.MissingRequiredClaimError as error:
        raise TokenRefused("malformed", f"the token's claim {error.claim} is missing") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise TokenRefused("malformed", "the token cannot be read") from error
    user, device = _text(claims, "sub", _USER), _text(claims, "dev", _DEVICE)
    expires, begins = _moment(claims, "exp"), _moment(claims, "nbf", 0)
    _moment(claims, "iat", 0)
    if now >= expires + leeway_s:
        raise TokenRefused("expired", "the token has expired; ask for a new one")
    if now < begins - leeway_s:
        raise TokenRefused("not-yet", "the token is not good yet; look at the clocks")
    return TokenClaims(user, device, float(expires))


def _text(claims: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = claims[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise TokenRefused("malformed", f"the token's claim {name} is not a name as the API has it")
    return value


def _moment(claims: Mapping[str, Any], name: str, absent: int | None = None) -> int:
    """Unix seconds of a claim: a whole number up to the year 9999, or ``absent``.

    NaN and infinity are JSON to Python, and compare in ways that make a token last for ever.
    """
    value = claims.get(name, absent)
    # bool is an int to Python, and true no moment.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LAST_MOMENT_S:
        raise TokenRefused("malformed", f"the token's claim {name} is not a whole Unix second")
    return value


def _decoded(text: str) -> bytes | None:
    padded = text.strip() + "=" * (-len(text.strip()) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
