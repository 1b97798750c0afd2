"""What a run may not leave behind in Redis: keys that never expire."""

from __future__ import annotations

from pydantic import SecretStr
from redis.asyncio import Redis

from loadtest.history.history import Violation, user_index

TIMEOUT_S = 10.0
NEVER = -1  # what Redis tells as the life of a key without an end
_USER_PLACE = 1  # in scalrec:{USER}:snapshot:BUNDLE


async def keys_without_end(url: SecretStr) -> list[Violation]:
    """A violation for every key of a Redis that has no time to live."""
    found = []
    async with Redis.from_url(url.get_secret_value(), socket_timeout=TIMEOUT_S) as redis:
        async for key in redis.scan_iter(count=1000):
            if await redis.pttl(key) == NEVER:
                name = key.decode(errors="replace")
                parts = name.split(":")
                user = parts[_USER_PLACE].strip("{}") if len(parts) > _USER_PLACE else ""
                what = f"the key {name} has no time to live"
                found.append(Violation("every key expires", user_index(user), 0.0, what))
    return found
