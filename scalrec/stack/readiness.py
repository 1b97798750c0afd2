"""Readiness: how the cloud says it is, part by part, and whether it is the one that was meant."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import TracebackType
from typing import Self

from device_runtime.cloud.transport import HttpTransport, TransportError, TransportResponse
from scalrec.stack.asking import ask, member, words_of
from shared.addresses import masked_address
from shared.words import as_said

CLOUD, BUNDLE = "cloud", "bundle"
LOOK_TIMEOUT_S = 3.0
_PART_CHARS, _MOST_PARTS = 40, 16


class Readiness:
    """Looks at a cloud over HTTP; an async context manager.

    Args:
        url: of the cloud.
        bundle_id: of the bundle that the devices hold.
    """

    def __init__(self, url: str, bundle_id: str) -> None:
        self._url = masked_address(url)  # as it is shown
        self._bundle_id = bundle_id
        self._transport = HttpTransport(url)  # the way that devices take

    async def alive(self) -> str | None:
        """None if the process answers, else why not."""
        try:
            answer = await self._get("/healthz")
        except TransportError as error:
            return f"the cloud at {self._url} does not answer ({words_of(error)})"
        return None if answer.status < 500 else _status(self._url, "/healthz", answer)

    async def problems(self) -> dict[str, str]:
        """What is wrong, by part (cloud, bundle, and what /readyz names); empty if nothing is."""
        try:
            ready = await self._get("/readyz")
            served = await self._get("/v1/bundle")
        except TransportError as error:
            return {CLOUD: f"the cloud at {self._url} does not answer ({words_of(error)})"}
        found: dict[str, str] = {}
        if ready.status != 200:
            checks = member(ready, "checks")
            parts = checks if isinstance(checks, Mapping) else {}
            found = {
                as_said(part, _PART_CHARS): (
                    f"the cloud says that its {as_said(part, _PART_CHARS)} is not ready: "
                    f"{as_said(state)}"
                )
                for part, state in islice(parts.items(), _MOST_PARTS)
                if state != "ok"
            } or {CLOUD: _status(self._url, "/readyz", ready)}
        bundle = member(served, "bundle_id")
        if isinstance(bundle, str) and bundle != self._bundle_id:
            found[BUNDLE] = (
                f"the cloud at {self._url} serves bundle {as_said(bundle, _PART_CHARS)}, the "
                "devices hold "
                f"{self._bundle_id}"
            )
        elif not isinstance(bundle, str) and not found:
            found[CLOUD] = (
                f"what answers at {self._url} does not say which bundle it serves (status "
                f"{served.status} at /v1/bundle)"
            )
        return found

    async def _get(self, path: str) -> TransportResponse:
        return await ask(self._transport, path, LOOK_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.aclose()


def _status(url: str, path: str, answer: TransportResponse) -> str:
    return f"the cloud at {url} answers {answer.status} at {path}"
