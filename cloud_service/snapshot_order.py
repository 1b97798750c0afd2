"""Which of two snapshots of a user is kept: the same rule in Python and in Redis' Lua."""

from __future__ import annotations

from shared.snapshot import VERSION_SLICE, make_version

REORDER_WINDOW_S = 60.0  # above the longest time a refresh can take
CREATED_BITS = make_version(1, 0).bit_length() - 1  # low bits of a version: its server time, ms

# The version is big-endian, so comparing its bytes compares it. Lua counts from 1, inclusive; its
# numbers are doubles, exact up to 53 bits, so the time is read from the last six bytes.
_VERSION = f"{VERSION_SLICE.start + 1}, {VERSION_SLICE.stop}"
PUT_IF_NEWER = f"""
local function created(blob)
  local bytes, value = {{string.byte(blob, {_VERSION})}}, 0
  for i = 3, 8 do value = value * 256 + bytes[i] end
  return value % 2^{CREATED_BITS}
end
local current = redis.call('GET', KEYS[1])
if current and current ~= ARGV[1]
   and string.sub(current, {_VERSION}) >= string.sub(ARGV[1], {_VERSION})
   and created(ARGV[1]) - created(current) <= tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


def replaces(blob: bytes, current: bytes, window_ms: int) -> bool:
    """Whether ``blob`` may take the place of ``current``.

    It may if its version is higher; if it is the same blob (a retry after a lost reply must not
    look like a refusal); or if it was computed more than ``window_ms`` after the other. Versions
    put refreshes under way at the same time in order, and those lie seconds apart. Beyond that
    the server's time decides, so that no step a client claims can block its user's later
    snapshots for longer than the window.
    """
    if blob == current or blob[VERSION_SLICE] > current[VERSION_SLICE]:
        return True
    return _created_ms(blob) - _created_ms(current) > window_ms


def _created_ms(blob: bytes) -> int:
    return int.from_bytes(blob[VERSION_SLICE], "big") & ((1 << CREATED_BITS) - 1)
