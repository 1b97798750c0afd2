"""Embedding servers of several makes, by what sets their requests and answers apart.

Hand-written, since none of them can be run here; the real vLLM is tested beside them. Each is a
real HTTP server with HashingEmbedder's vectors.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cloud_service.embedding.hashing import HashingEmbedder
from tests.support.servers import serving

DIM = 16
MODEL = f"hashing-{DIM}"
Rows = list[dict[str, Any]]


@dataclass(kw_only=True)
class Shape:
    """How a make differs.

    Attributes:
        prefix: of its paths.
        models: what it answers to a list of models; None: it has no such path.
        formats: values of encoding_format that it takes; None stands for leaving it out.
        truncates: takes ``truncate_prompt_tokens``.
        most_texts, most_words: in a request and in a text.
        most_at_once: texts under way; others are refused as overload.
        refusal: (kind, words) -> status and body.
        dress: last change to the rows of an answer.
        around: from rows to the whole answer.
    """

    prefix: str = "/v1"
    models: Any = field(default_factory=lambda: {"data": [{"id": MODEL}]})
    formats: frozenset[str | None] = frozenset({"base64", "float", None})
    truncates: bool = False
    most_texts: int = 10_000
    most_words: int = 10_000
    most_at_once: int = 10_000
    refusal: Callable[[str, str], tuple[int, Any]] = lambda kind, words: (400, {"error": words})
    dress: Callable[[Rows, list[NDArray[np.float32]]], Rows] = lambda rows, _: rows
    around: Callable[[Rows], Any] = lambda rows: {"object": "list", "data": rows}


def vllm() -> Shape:
    return Shape(
        models={"data": [{"id": f"/models/{MODEL}", "max_model_len": 64}]},
        truncates=True,
        most_words=64,
        refusal=lambda kind, words: (
            400, {"error": {"message": words, "type": "BadRequestError", "code": 400}}
        ),
    )  # fmt: skip


def tei() -> Shape:
    """Text Embeddings Inference: no list of models, small batches, one refusal for each reason."""
    status = {"batch": 413, "length": 413, "busy": 429, "format": 422}
    return Shape(
        models=None,
        formats=frozenset({"float", None}),
        most_texts=4,
        most_words=64,
        refusal=lambda kind, words: (status[kind], {"error": words, "error_type": "Validation"}),
    )


def busy_tei() -> Shape:
    return Shape(**{**tei().__dict__, "most_texts": 100, "most_at_once": 2})


def infinity() -> Shape:
    """Serves at the root unless told otherwise."""
    return Shape(
        prefix="",
        models={"data": [{"id": f"michaelfeng/{MODEL}", "stats": {}, "owned_by": "infinity"}]},
        formats=frozenset({"float", None}),
        refusal=lambda kind, words: (422, {"detail": [{"loc": ["body"], "msg": words}]}),
    )


def llama_cpp() -> Shape:
    """Vectors in a list of their own; says 500 to a text that is too long."""
    return Shape(
        models={"models": [{"name": MODEL}], "data": [{"id": f"/gguf/{MODEL}.gguf"}]},
        most_words=64,
        refusal=lambda kind, words: (
            500, {"error": {"code": 500, "message": words, "type": "server_error"}}
        ),
        dress=lambda rows, _: [row | {"embedding": [row["embedding"]]} for row in rows],
        around=lambda rows: rows,
    )  # fmt: skip


def llama_cpp_tokens() -> Shape:
    """With pooling left to its clients: a vector per token, whose mean is the text's."""

    def tokens(rows: Rows, vectors: list[NDArray[np.float32]]) -> Rows:
        spread = np.linspace(-0.5, 0.5, 5)[:, None]
        return [
            row | {"embedding": (vector + spread).tolist()}
            for row, vector in zip(rows, vectors, strict=True)
        ]

    return Shape(formats=frozenset({"float", None}), dress=tokens, around=lambda rows: rows)


def lm_studio() -> Shape:
    """Answers in any order, without usage; its names carry a suffix."""
    return Shape(
        models={"data": [{"id": "qwen3-8b"}, {"id": MODEL.upper(), "object": "model"}]},
        dress=lambda rows, _: rows[::-1],
        around=lambda rows: {"data": rows},
    )


def litellm() -> Shape:
    """A gateway: refuses parameters that what stands behind it lacks, and numbers nothing."""
    return Shape(
        formats=frozenset({None}),
        refusal=lambda kind, words: (
            500, {"error": {"message": f"litellm.UnsupportedParamsError: {words}", "code": "500"}}
        ),
        dress=lambda rows, _: [{"embedding": row["embedding"]} for row in rows[::-1]],
    )  # fmt: skip


def voyage() -> Shape:
    """Takes base64 alone; every answer has the number 0."""
    return Shape(
        formats=frozenset({"base64"}), dress=lambda rows, _: [row | {"index": 0} for row in rows]
    )


MAKES = (vllm, tei, busy_tei, infinity, llama_cpp, llama_cpp_tokens, lm_studio, litellm, voyage)


class ShapedServer:
    """A server of that make; ``sizes`` are the texts of each request that it answered.

    Attributes:
        poison: text -> what becomes of a request with it: ``nan``, ``null``, ``inf``, ``zero``,
            ``500``, ``400``, ``echo``, a 500 that repeats all of the input, or ``cut``, a
            connection that is closed.
        hung: accepts embeddings and never answers; /health goes on to say 200.
    """

    def __init__(self, shape: Shape):
        self.shape = shape
        self.poison: dict[str, str] = {}
        self.hung = False
        self.sizes: list[int] = []
        self.refused: list[int] = []
        self.url = ""
        self._under_way = 0

    @asynccontextmanager
    async def up(self) -> AsyncIterator[ShapedServer]:
        prefix = self.shape.prefix
        routes = [
            Route(f"{prefix}/embeddings", self._embeddings, methods=["POST"]),
            Route("/health", lambda _: Response("OK")),
        ]
        if self.shape.models is not None:
            routes.append(Route(f"{prefix}/models", lambda _: JSONResponse(self.shape.models)))
        async with serving(Starlette(routes=routes), lifespan="off") as self.url:
            yield self

    async def _embeddings(self, request: Request) -> Response:
        body = await request.json()
        texts: list[str] = body["input"]
        if self.hung:
            await asyncio.Event().wait()
        if any(self.poison.get(text) == "cut" for text in texts):
            return _Cut()
        refusal = self._refusal(body, texts)
        if refusal is not None:
            self.refused.append(len(texts))
            return JSONResponse(refusal[1], status_code=refusal[0])
        self._under_way += len(texts)
        try:
            await asyncio.sleep(0.001)
        finally:
            self._under_way -= len(texts)
        self.sizes.append(len(texts))
        limit = body.get("truncate_prompt_tokens", self.shape.most_words)
        vectors = 3 * await HashingEmbedder(DIM).embed([_cut(text, limit) for text in texts])
        rows = []
        for index, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            self._damage(vector, self.poison.get(text, ""))
            embedding: Any = [None if np.isnan(x) else float(x) for x in vector]
            if body.get("encoding_format") == "base64":
                embedding = base64.b64encode(vector.astype("<f4").tobytes()).decode()
            rows.append({"object": "embedding", "index": index, "embedding": embedding})
        return _lenient_json(self.shape.around(self.shape.dress(rows, list(vectors))))

    def _refusal(self, body: dict[str, Any], texts: list[str]) -> tuple[int, Any] | None:
        shape = self.shape
        longest = max(len(text.split()) for text in texts)
        if body.get("encoding_format") not in shape.formats:
            return shape.refusal("format", "encoding_format is not supported")
        if "truncate_prompt_tokens" in body and not shape.truncates:
            return shape.refusal("format", "truncate_prompt_tokens: extra inputs are not permitted")
        if len(texts) > shape.most_texts:
            words = f"batch size {len(texts)} > maximum allowed batch size {shape.most_texts}"
            return shape.refusal("batch", words)
        if self._under_way + len(texts) > shape.most_at_once:
            return shape.refusal("busy", "Model is overloaded")
        if longest > shape.most_words and "truncate_prompt_tokens" not in body:
            words = f"input ({longest} tokens) is too large to process, increase the physical batch"
            return shape.refusal("length", words)
        for text in texts:
            fate = self.poison.get(text)
            if fate in ("500", "400"):
                return int(fate), {"error": {"message": "the engine stumbled, code 77"}}
            if fate == "echo":
                return 500, {"error": {"message": f"cannot process {texts!r}"}, "input": texts}
        return None

    @staticmethod
    def _damage(vector: NDArray[np.float32], fate: str) -> None:
        if fate in ("nan", "null"):
            vector[0] = np.nan
        elif fate == "inf":
            vector[1] = np.inf
        elif fate == "zero":
            vector[:] = 0


def _cut(text: str, words: int) -> str:
    return " ".join(text.split()[:words])


def _lenient_json(content: Any) -> Response:
    """JSON with Infinity in it, as servers in Python write it."""
    import json

    return Response(json.dumps(content), media_type="application/json")


class _Cut(Response):
    """Half an answer, then nothing: the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise ConnectionResetError
