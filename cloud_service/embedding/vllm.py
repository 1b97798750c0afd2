"""VllmEmbedder: an OpenAI-compatible embedding server, such as vLLM, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2 as httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from cloud_service.embedding.base import normalised, require_identity
from shared.addresses import masked_address
from shared.bundle import EmbedderIdentity
from shared.errors import ConfigError, EmbedderError, EmbedderMismatch, EmbedderUnavailable

PROBE = "A text to learn the dimension from."
KEPT_S = 2.0  # such servers let go of idle connections after 5 s: the client must be first


class VllmEmbedder:
    """Client of ``/v1/embeddings``. Vectors are L2-normalised, as vLLM's own are by default.

    The server's pooling cannot be read over this API: whoever starts the server sets it, and
    ``pooling`` states it. ``truncate_prompt_tokens`` is sent to servers that tell their
    ``max_model_len`` (vLLM); it cuts as the model's tokenizer does, special tokens kept.

    Args:
        url: base URL of the server, with or without ``/v1``.
        model: name under which the server serves it (its last path component is enough).
        pooling: ``MEAN`` or ``LAST``, as the server was started.
        max_tokens: longer texts are cut to this many tokens.
        batch_size: texts in one HTTP request.
        concurrency: HTTP requests at once within one ``embed``.
        timeout_s: for one HTTP request. A deadline of the caller comes on top.
        api_key: sent as a bearer token.
        trace_headers: what each request carries besides, asked for at every one.

    Raises:
        ConfigError: the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        pooling: str,
        max_tokens: int = 256,
        batch_size: int = 64,
        concurrency: int = 4,
        timeout_s: float = 120.0,
        api_key: SecretStr | None = None,
        trace_headers: Callable[[], Mapping[str, str]] | None = None,
    ):
        self._trace_headers = trace_headers or dict
        try:
            base = httpx.URL(url.rstrip("/").removesuffix("/v1"))
        except httpx.InvalidURL as error:
            # Not its words: they can quote a part of a password.
            raise ConfigError(f"embedder.url is not a URL: {masked_address(url)!r}") from error
        self._shown = masked_address(str(base))  # in messages, which reach logs and devices
        self._model = model
        self._pooling = pooling
        self._max_tokens = max_tokens
        self._batch_size = batch_size
        self._concurrency = concurrency
        # No cap on connections: callers bound their own concurrency, and httpcore can lose a
        # slot for good when a connect is cancelled. trust_env off: no proxies from outside.
        self._client = httpx.AsyncClient(
            base_url=base,
            headers={}
            if api_key is None
            else {"Authorization": f"Bearer {api_key.get_secret_value()}"},
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEPT_S
            ),
            trust_env=False,
        )
        self._request: dict[str, Any] = {}  # served model name and truncation, once known
        self._identity: EmbedderIdentity | None = None
        self._proven = False  # vectors of this identity have come since it was learnt

    @property
    def identity(self) -> EmbedderIdentity:
        return require_identity(self._identity)

    async def ready(self) -> None:
        try:
            request = await self._ask_model()
        except EmbedderError:
            self._forget()
            raise
        # A list of models tells no dimension, and a server may be replaced unnoticed by another
        # that serves the same name: one that has not proved itself is measured again.
        if self._identity is None or not self._proven or request != self._request:
            vectors = normalised(await self._post([PROBE], request), count=1)
            self._request = request
            self._identity = EmbedderIdentity(
                backend="vllm", model=self._model, pooling=self._pooling, dim=vectors.shape[1]
            )

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._identity is None:
            await self.ready()
        dim = self.identity.dim
        if not texts:
            return np.zeros((0, dim), dtype=np.float32)
        slots = asyncio.Semaphore(self._concurrency)

        async def one(batch: Sequence[str]) -> NDArray[np.float32]:
            async with slots:
                vectors = await self._post(batch, self._request)
                return normalised(vectors, count=len(batch), dim=dim)

        size = self._batch_size
        tasks = [
            asyncio.ensure_future(one(texts[start : start + size]))
            for start in range(0, len(texts), size)
        ]
        try:
            vectors = np.concatenate(await asyncio.gather(*tasks))
            self._proven = True
            return vectors
        except EmbedderError:
            self._forget()
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _forget(self) -> None:
        """What answers next may be another server: ask who it is before trusting it."""
        self._identity, self._proven = None, False

    async def _ask_model(self) -> dict[str, Any]:
        """Request fields of the served model; checks that it is ours."""
        answer = await self._call("GET", "/v1/models")
        try:
            cards = {str(card["id"]): card for card in answer["data"]}
        except (KeyError, TypeError) as error:
            raise EmbedderMismatch(
                f"{self._shown}/v1/models does not answer as an OpenAI-compatible server"
            ) from error
        served = next((n for n in cards if self._model in (n, n.rstrip("/").split("/")[-1])), None)
        if served is None:
            raise EmbedderMismatch(
                f"{self._shown} serves {', '.join(cards) or 'no model'}, not {self._model}; start "
                f"it with --served-model-name {self._model} or set embedder.model"
            )
        request: dict[str, Any] = {"model": served, "encoding_format": "base64"}
        longest = cards[served].get("max_model_len")
        if isinstance(longest, int):
            request["truncate_prompt_tokens"] = min(self._max_tokens, longest)
        return request

    async def _post(self, texts: Sequence[str], request: dict[str, Any]) -> NDArray[np.float32]:
        """Vectors as the server gives them, in the order of the texts."""
        answer = await self._call("POST", "/v1/embeddings", {**request, "input": list(texts)})
        try:
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            if [int(row["index"]) for row in rows] != list(range(len(texts))):
                raise EmbedderMismatch(f"embedder answered {len(rows)} vectors to {len(texts)}")
            vectors = [_decode(row["embedding"]) for row in rows]
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise EmbedderMismatch(
                f"{self._shown}/v1/embeddings answered in an unknown form: {error!r}"
            ) from error
        if len({len(vector) for vector in vectors}) != 1:
            raise EmbedderMismatch("embedder answered vectors of several dimensions")
        return np.stack(vectors)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """JSON answer to one request; repeated once when a kept-alive connection had died."""
        for attempt in (1, 2):
            try:
                response = await self._client.request(
                    method, path, json=body, headers=self._trace_headers()
                )
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if attempt == 2:
                    raise self._unavailable(repr(error)) from error
            except httpx.HTTPError as error:
                raise self._unavailable(str(error) or repr(error)) from error
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise self._unavailable(f"status {response.status_code}")
        if response.status_code != 200:
            raise EmbedderMismatch(
                f"{self._shown}{path} refused the request with status {response.status_code}: "
                f"{response.text[:200]}"
            )
        try:
            return response.json()
        except ValueError as error:
            raise EmbedderMismatch(f"{self._shown}{path} did not answer JSON") from error

    def _unavailable(self, reason: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(
            f"embedding server {self._shown} does not answer ({reason}); check that it runs"
        )


def _decode(embedding: Any) -> NDArray[np.float32]:
    """One vector: base64 of little-endian float32, or a list from servers that ignore the wish."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    vector = np.asarray(embedding, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError(f"an embedding of shape {vector.shape}")
    return vector
