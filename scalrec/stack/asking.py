"""Questions to a cloud on the way that its devices take, and what can be shown of its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from device_runtime.cloud.transport import HttpTransport, TransportResponse
from shared.words import as_said

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


async def ask(
    transport: HttpTransport, path: str, timeout_s: float, headers: Mapping[str, str] = NO_HEADERS
) -> TransportResponse:
    """One GET. Raises TransportError."""
    return await transport.request("GET", path, headers=headers, content=b"", timeout_s=timeout_s)


def member(answer: TransportResponse, name: str) -> Any:
    """Of the answer's JSON object; None where it has none, or is none."""
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return body.get(name) if isinstance(body, dict) else None


def words_of(error: Exception) -> str:
    """The error's own, or its kind's name."""
    return as_said(error) or type(error).__name__
