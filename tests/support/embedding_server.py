"""A small real HTTP embedding server with faults to switch on; vectors of HashingEmbedder."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloud_service.embedding.hashing import HashingEmbedder
from tests.support.servers import free_port, serving


@dataclass
class EmbeddingServer:
    """Speaks ``/v1/models`` and ``/v1/embeddings`` of an OpenAI-compatible server.

    Attributes:
        model: the name it serves; None: the one HashingEmbedder has.
        dim: of its vectors.
        delay_s: before every embedding answer.
        status: of every embedding answer.
        damage: what to do to the vectors: ``nan``, ``zero``, ``fewer``, ``null``,
            ``text`` (not JSON).
        as_lists: answer JSON lists although base64 was asked for.
        requests: bodies of the embedding requests, in order.
        traceparents: their traceparent headers, "" where there was none.
    """

    dim: int = 16
    model: str | None = None
    delay_s: float = 0.0
    status: int = 200
    damage: str = ""
    as_lists: bool = False
    max_model_len: int | None = 128
    port: int = field(default_factory=free_port)
    requests: list[dict[str, Any]] = field(default_factory=list)
    traceparents: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def up(self) -> AsyncIterator[EmbeddingServer]:
        """Listening for the block; always on the same port."""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
        ]
        async with serving(Starlette(routes=routes), port=self.port, lifespan="off"):
            yield self

    async def _models(self, _: Request) -> Response:
        card = {"id": self.model or f"hashing-{self.dim}", "object": "model"}
        if self.max_model_len is not None:
            card["max_model_len"] = self.max_model_len
        return JSONResponse({"object": "list", "data": [card]})

    async def _embeddings(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.traceparents.append(request.headers.get("traceparent", ""))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self._at_once -= 1
        if self.status != 200:
            return JSONResponse({"error": {"message": "switched on"}}, status_code=self.status)
        if self.damage == "text":
            return Response("surprise", media_type="text/plain")
        # Not of length 1: the client must not rely on the server for that.
        vectors = 3 * await HashingEmbedder(self.dim).embed(body["input"])
        if self.damage == "nan":
            vectors[-1, 0] = np.nan
        elif self.damage == "zero":
            vectors[-1] = 0
        elif self.damage == "fewer":
            vectors = vectors[:-1]
        rows = [
            {
                "index": index,
                "object": "embedding",
                "embedding": vector.tolist()
                if self.as_lists
                else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
            }
            for index, vector in enumerate(vectors)
        ]
        if self.damage == "null":
            rows[-1]["embedding"] = None
        # Any order is allowed: the index counts.
        return JSONResponse({"object": "list", "data": rows[::-1]})
