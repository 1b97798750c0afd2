"""Isolating: one text that a server cannot embed costs no other text its vector."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.server_link import RequestRefused
from shared.errors import EmbedderMismatch

Answered = tuple[NDArray[np.float32], dict[int, str]]  # unit rows, and why others are zeros
CONTROL = "A text to learn the dimension from."
PATIENCE_S = (0.1, 0.2, 0.4)  # waits before a lone text gives up on a server that is busy
MOST_WAIT_S = 2.0
_SHORTEST = 32  # characters; a shorter text is not refused for its length


class Isolating:
    """Embeds batches; splits those that are refused until it knows which text is the cause.

    Whether a text or the server is the cause is found out by a text that is known to be harmless:
    where that fails too, so does the whole call.

    Args:
        ask: one request to the server. Raises RequestRefused where its content may be the reason.
        most: texts in a request; lowered for good when the server says that it takes fewer.
    """

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[Answered]], *, most: int):
        self._ask = ask
        self.most = most
        self.shortened = 0  # texts that were cut since the server takes none that long

    async def embed(self, texts: Sequence[str], *, alive: bool = False) -> Answered:
        """Unit vectors [n, m] and, by position, why a text (a zero row) has none.

        Args:
            alive: the server has embedded the harmless text since this began.

        Raises:
            EmbedderUnavailable, EmbedderMismatch: the server's fault, not a text's.
        """
        if len(texts) > self.most:
            return await self._split(texts, self.most, alive)
        try:
            unit, refused = await self._ask(texts)
        except RequestRefused as refusal:
            return await self._refused(texts, refusal, alive)
        if not refused:
            return unit, refused
        if len(texts) == 1 or len(refused) == len(texts):
            await self._require_alive(
                EmbedderMismatch(f"embedder answered {refused[min(refused)]}")
            )
        if len(texts) > 1:
            for place in list(refused):
                one, why = await self.embed([texts[place]], alive=True)
                unit[place] = one[0]
                del refused[place]
                if why:
                    refused[place] = why[0]
        return unit, refused

    async def _refused(
        self, texts: Sequence[str], refusal: RequestRefused, alive: bool
    ) -> Answered:
        several = len(texts) > 1
        if refusal.busy:
            return await (
                self._split(texts, len(texts) // 2, alive)
                if several
                else self._patiently(texts[0], refusal)
            )
        if several:
            if refusal.of_batch:
                self.most = max(1, min(self.most, len(texts) // 2))
            elif not alive:
                await self._require_alive(refusal.as_error())
            return await self._split(texts, len(texts) // 2, True)
        if refusal.of_length:
            shorter = await self._shorter(texts[0])
            if shorter is not None:
                return shorter
        control = await self._require_alive(refusal.as_error())
        return np.zeros_like(control), {0: refusal.reason}

    async def _split(self, texts: Sequence[str], size: int, alive: bool) -> Answered:
        parts: list[NDArray[np.float32]] = []
        refused: dict[int, str] = {}
        for start in range(0, len(texts), size):
            unit, why = await self.embed(texts[start : start + size], alive=alive)
            parts.append(unit)
            refused |= {start + place: reason for place, reason in why.items()}
        return np.concatenate(parts), refused

    async def _patiently(self, text: str, refusal: RequestRefused) -> Answered:
        for wait_s in PATIENCE_S:
            await asyncio.sleep(min(refusal.retry_after_s or wait_s, MOST_WAIT_S))
            try:
                return await self._ask([text])
            except RequestRefused as again:
                if not again.busy:
                    return await self._refused([text], again, False)
                refusal = again
        raise refusal.as_error()

    async def _shorter(self, text: str) -> Answered | None:
        """The vector of as much of the text's beginning as the server takes, by halves."""
        while len(text) > _SHORTEST:
            text = text[: len(text) // 2]
            try:
                unit, refused = await self._ask([text])
            except RequestRefused as refusal:
                if refusal.busy:
                    raise refusal.as_error() from refusal
                if not refusal.of_length:
                    return None
                continue
            if refused:
                return None
            self.shortened += 1
            return unit, refused
        return None

    async def _require_alive(self, error: Exception) -> NDArray[np.float32]:
        """The vector of the harmless text; raises ``error`` where there is none either."""
        try:
            unit, refused = await self._ask([CONTROL])
        except RequestRefused:
            raise error from None
        if refused:
            raise error
        return unit
