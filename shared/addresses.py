"""Addresses as they may be shown, and which of them are this machine's.

Whatever is printed, logged, answered or written passes through ``masked``: an address may carry a
password before its host or a key in its query, and libraries quote addresses in their errors.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

STARS = "**********"
# Strangers choose some of the texts: every pattern here takes time in proportion to their length.
_IN_TEXT = re.compile(r"""((?:[A-Za-z][A-Za-z0-9+.-]{0,30})?://)([^\s"'<>`]*)""")
_HOST_AND_PORT = re.compile(
    r"(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\[[0-9a-fA-F:.]+\](?::\d+)?|[\w.-]{1,255}:\d{2,5})(?!\w)"
)
_WHOLE = re.compile(r"^\s*([A-Za-z0-9+.-]*://)?(.*)$", re.DOTALL)
_HOST = re.compile(r"^(\[[0-9A-Fa-f:.%]*\]|[^:@\[\]]*)(:\d+)?$")
# Closing marks that belong to the sentence around an address, and how long rich's markup may be.
_AFTER, _TAG_CHARS = ").,;:]}", 40


def masked(text: str) -> str:
    """``text`` with user, password, query and fragment of every address in it as stars.

    An address ends at white space or a quotation mark; for one that may hold such, see
    ``masked_address``.
    """
    if "://" not in text:
        return text
    return _IN_TEXT.sub(_shown_in_text, text)


def masked_address(address: str) -> str:
    """One address, well formed or not, as it may be shown; ``scheme://`` may be missing."""
    scheme, rest = _WHOLE.fullmatch(address).groups()  # type: ignore[union-attr]
    return (scheme or "") + _shown(rest)


def has_http_form(address: str) -> bool:
    """Whether ``address`` may be one of an HTTP server: scheme, host, and a port that exists."""
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def unaddressed(text: str) -> str:
    """``text`` without any address, not even a host and port, for readers outside the network."""
    # A scheme alone is a word of advice, no address.
    bare = _IN_TEXT.sub(lambda found: "(address)" if found[2] else found[0], text)
    return _HOST_AND_PORT.sub("(address)", bare)


def masked_values(value: Any) -> Any:
    """``value`` with ``masked`` applied to every text in its dictionaries, lists and tuples."""
    match value:
        case str():
            return masked(value)
        case Mapping():
            return {name: masked_values(inner) for name, inner in value.items()}
        case list() | tuple():
            return [masked_values(inner) for inner in value]
        case BaseException():
            return masked(str(value))
        case _:
            return value


def masked_line(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structured log lines."""
    return {name: masked_values(value) for name, value in line.items()}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``, however it is written."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:  # 127.1 and its like, as the system reads them
            packed = socket.inet_aton(name) if re.fullmatch(r"[0-9a-fx.]+", name) else b""
        except OSError:
            return False
        return packed[:1] == b"\x7f"
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _shown_in_text(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    cut = _end(rest)
    return scheme + _shown(rest[:cut]) + rest[cut:]


def _end(rest: str) -> int:
    """Where an address ends before closing marks and closing tags."""
    cut = len(rest)
    while cut and rest[cut - 1] in _AFTER:
        tag = rest.rfind("[/", max(0, cut - _TAG_CHARS), cut - 1) if rest[cut - 1] == "]" else -1
        cut = cut - 1 if tag < 0 or "]" in rest[tag : cut - 1] else tag
    return cut


def _shown(rest: str) -> str:
    """What comes after ``scheme://``."""
    end = min((place for mark in "/?#" if (place := rest.find(mark)) >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if "@" in authority:
        authority = f"{STARS}@{authority.rpartition('@')[2]}"
    elif not _HOST.fullmatch(authority) or ("@" in path and ":" in authority):
        return STARS  # a password with a slash or the like in it, perhaps
    elif "@" in path:
        return authority + path[0] + STARS  # likewise, of a user without a password
    for mark in "?#":
        before, found, secret = path.partition(mark)
        if found:
            return authority + before + mark + (STARS if secret else "")
    return authority + path
