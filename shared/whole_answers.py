"""Answers of other servers, read whole and within a bound.

Nothing is unpacked: some hundred bytes can unpack to gigabytes before anybody can count them. So
who reads here also sends ``UNPACKED``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from types import MappingProxyType

UNPACKED: Mapping[str, str] = MappingProxyType({"Accept-Encoding": "identity"})
_PLAIN = frozenset({"", "identity"})


class UnreadableAnswer(Exception):
    """It is packed, or larger than its bound; the message says which."""


async def whole_answer(
    chunks: AsyncIterable[bytes], headers: Mapping[str, str], most: int
) -> bytes:
    """The bytes of a body as they were sent.

    Args:
        chunks: the body, not unpacked.
        headers: of the answer, found in any case.
        most: bytes it may have.

    Raises:
        UnreadableAnswer: it is packed, or larger.
    """
    packed = headers.get("content-encoding", "").strip().lower()
    if packed not in _PLAIN:
        raise UnreadableAnswer(f"answer is packed ({packed[:40]!r}), which was not asked for")
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise UnreadableAnswer(f"answer is larger than {most} bytes")
    return bytes(body)
