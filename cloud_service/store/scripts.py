"""What runs inside Redis, in one step: keep the newer blob, remove one that was found unusable."""

from __future__ import annotations

import hashlib

import redis.asyncio as redis
from redis.exceptions import NoScriptError

from shared.snapshot import MAGIC, VERSION_SLICE, make_version

CREATED_BITS = make_version(1, 0).bit_length() - 1  # low bits of a version: its server time, ms

# The version is big-endian, so comparing its bytes compares it. Lua counts from 1, inclusive; its
# numbers are doubles, exact up to 53 bits, so the time is read from the last six bytes.
_VERSION = f"{VERSION_SLICE.start + 1}, {VERSION_SLICE.stop}"
# What lies there and is no blob has no version: its reader, who gets a 0, removes it and counts it.
_PUT_IF_NEWER = f"""
local function created(blob)
  local bytes, value = {{string.byte(blob, {_VERSION})}}, 0
  for i = 3, 8 do value = value * 256 + bytes[i] end
  return value % 2^{CREATED_BITS}
end
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  if string.find(current.err, 'WRONGTYPE', 1, true) then return 0 end
  return current
end
if current and current ~= ARGV[1] then
  if #current < {VERSION_SLICE.stop} or string.sub(current, 1, {len(MAGIC)}) ~= '{MAGIC.decode()}'
  then return 0 end
  if string.sub(current, {_VERSION}) >= string.sub(ARGV[1], {_VERSION})
     and created(ARGV[1]) - created(current) <= tonumber(ARGV[3]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# An empty blob stands for whatever is no string.
_DISCARD = """
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then
  if not string.find(current.err, 'WRONGTYPE', 1, true) then return current end
  if ARGV[1] ~= '' then return 0 end
elseif current ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
"""


class Script:
    """A script over one key that answers 0 or 1; Redis keeps it after its first run."""

    def __init__(self, lua: str):
        self._lua = lua
        self._sha = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: redis.Redis, key: str, *args: bytes | int) -> bool:
        """Raises redis-py's errors, and ValueError for an answer that is none of a script's."""
        try:
            answer = await client.evalsha(self._sha, 1, key, *args)
        except NoScriptError:
            answer = await client.eval(self._lua, 1, key, *args)
        if answer not in (0, 1):
            raise ValueError("the answer is one to another command")
        return bool(answer)


PUT_IF_NEWER = Script(_PUT_IF_NEWER)
DISCARD = Script(_DISCARD)
