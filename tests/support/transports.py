"""ScriptedTransport: a device's transport with answers prepared beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from device_runtime.cloud.transport import TransportResponse


@dataclass(frozen=True, slots=True)
class SentRequest:
    """What a ScriptedTransport was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    timeout_s: float


Answer = TransportResponse | BaseException | Callable[[SentRequest], TransportResponse]


class ScriptedTransport:
    """Gives prepared answers in turn, then repeats the last one.

    Args:
        answers: each a response, an exception to raise, or a function of the request.
        delay_s: loop time every answer takes.
        suspensions: bare suspensions before every answer, for cancelling at each of them.
    """

    def __init__(
        self, answers: Iterable[Answer], *, delay_s: float = 0.0, suspensions: int = 0
    ) -> None:
        self._answers = list(answers)
        self._delay_s = delay_s
        self._suspensions = suspensions
        self.sent: list[SentRequest] = []
        self.rebuilds = 0
        self.closed = False

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        timeout_s: float,
    ) -> TransportResponse:
        sent = SentRequest(
            method=method, path=path, headers=headers, content=content, timeout_s=timeout_s
        )
        answer = self._answers[min(len(self.sent), len(self._answers) - 1)]
        self.sent.append(sent)
        for _ in range(self._suspensions):
            await asyncio.sleep(0)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, TransportResponse) else answer(sent)

    async def rebuild(self) -> None:
        self.rebuilds += 1

    async def aclose(self) -> None:
        self.closed = True
