"""ServerLink: one HTTP request to an embedding server, and what its refusals mean."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2 as httpx
from pydantic import SecretStr

from cloud_service.embedding.server_words import server_words
from shared.addresses import has_http_form, masked_address
from shared.errors import (
    ConfigError,
    EmbedderError,
    EmbedderMismatch,
    EmbedderUnavailable,
    ScalrecError,
)
from shared.whole_answers import UNPACKED, UnreadableAnswer, whole_answer

KEPT_S = 2.0  # such servers let go of idle connections after 5 s: the client must be first
LOST = 0
# Bytes of an answer: a list of models, and for each text a vector per token at the most.
_ANSWER_BYTES, _TEXT_BYTES, _MOST_BYTES = 8 << 20, 32 << 20, 256 << 20
_REMEMBERED = 256  # texts; a server may repeat an earlier one
_GONE = frozenset({408, 502, 503, 504})  # the server's own state, whatever was asked
_KEY = frozenset({401, 403})
_OF_BATCH = re.compile(
    r"batch (?:size|limit)|max\w* (?:allowed )?batch|too many (?:inputs|texts)", re.IGNORECASE
)
_REFUSING = frozenset({400, 413, 422})
_PHYSICAL_BATCH = re.compile(r"physical batch", re.IGNORECASE)
_OF_LENGTH = re.compile(
    r"too (?:long|large|big|many)|exceed|longer than|(?:less|fewer|more) than|physical batch"
    r"|max\w*[ _-](?:context|model|sequence|input|position|length|token)|context (?:length|size)",
    re.IGNORECASE,
)


class RequestRefused(ScalrecError):
    """A request that the server answered with a refusal its content may have caused.

    Args:
        where: address and path, for messages.
        status: of the answer; LOST if there was none.
        words: the server's own, see ``server_words``.
        retry_after_s: seconds it asks to wait, if it does.
    """

    def __init__(self, where: str, status: int, words: str, retry_after_s: float | None = None):
        super().__init__(f"{where} refused the request with status {status}: {words}")
        self.where, self.status, self.words = where, status, words
        self.retry_after_s = retry_after_s

    @property
    def busy(self) -> bool:
        return self.status == 429

    @property
    def of_batch(self) -> bool:
        """It takes fewer texts at once."""
        if self.status not in _REFUSING or _PHYSICAL_BATCH.search(self.words):
            return False  # the latter is llama.cpp's word for the length of one text
        return _OF_BATCH.search(self.words) is not None

    @property
    def of_length(self) -> bool:
        """It takes shorter texts."""
        return self.status == 413 or _OF_LENGTH.search(self.words) is not None

    @property
    def reason(self) -> str:
        """Status and words."""
        if self.status == LOST:
            return self.words
        return f"status {self.status}" + (f": {self.words}" if self.words else "")

    def as_error(self) -> EmbedderError:
        """The same where the server is at fault."""
        if self.busy or self.status == LOST or self.status >= 500:
            return EmbedderUnavailable(
                f"embedding server {self.where} does not answer ({self.reason}); check that it "
                "runs and what its log says"
            )
        return EmbedderMismatch(str(self))


class ServerLink:
    """Connections to one embedding server.

    Args:
        url: base URL of the server, with or without ``/v1``.
        timeout_s: for one HTTP request, the last byte of its answer included. A deadline of the
            caller comes on top.
        api_key: sent as a bearer token.
        trace_headers: what each request carries besides, asked for at every one.

    Raises:
        ConfigError: the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        api_key: SecretStr | None,
        trace_headers: Callable[[], Mapping[str, str]] | None,
    ):
        self._trace_headers = trace_headers or dict
        self._timeout_s = timeout_s
        try:
            base = httpx.URL(url.rstrip("/").removesuffix("/v1"))
        except httpx.InvalidURL:  # not its words: they can quote a part of a password
            base = None
        if base is None or not has_http_form(url):
            raise ConfigError(f"embedder.url is not a URL: {masked_address(url)!r}")
        # In messages, which reach logs and devices.
        self.shown = masked_address(str(base))
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
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

    async def aclose(self) -> None:
        await self._client.aclose()

    def said(self, body: str, texts: Sequence[str] = ()) -> str:
        """What the server said, fit for a message: without ``texts`` and others of late."""
        return server_words(body, [*texts, *self._recent])

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, texts: Sequence[str] = ()
    ) -> Any:
        """JSON answer to one request; repeated once when a kept-alive connection had died.

        Args:
            texts: those in the body.

        Raises:
            EmbedderUnavailable: no answer, or one that says the server is down.
            EmbedderMismatch: no JSON, or the key is refused.
            RequestRefused: another status than 200, or a connection that is lost again and again.
        """
        self._recent.extend(texts)
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(self._timeout_s):  # httpx's are for each byte
                    response, content = await self._exchange(method, path, body, len(texts))
                break
            except TimeoutError:
                raise self._unavailable(f"no whole answer in {self._timeout_s:g} s") from None
            except UnreadableAnswer as error:
                raise EmbedderMismatch(f"{self.shown}{path}: {error}") from error
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if attempt == 2:
                    # Servers may fall over one text.
                    lost = f"connection lost: {type(error).__name__}"
                    raise RequestRefused(f"{self.shown}{path}", LOST, lost) from error
            except httpx.HTTPError as error:
                raise self._unavailable(self.said(str(error)) or type(error).__name__) from error
        where, status = f"{self.shown}{path}", response.status_code
        # Not in the charset that it names: some of Python's give no text, or an error.
        words = content.decode(errors="replace")
        if status != 200:
            refusal = RequestRefused(where, status, self.said(words, texts), _wait_s(response))
            if status in _GONE:
                raise refusal.as_error()
            if status in _KEY:
                raise EmbedderMismatch(f"{refusal}; set embedder.api_key to a key it takes")
            if response.is_redirect:
                raise EmbedderMismatch(
                    f"{where} sends requests elsewhere (status {status}); set embedder.url to "
                    "where it sends them"
                )
            raise refusal
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise EmbedderMismatch(f"{where} did not answer JSON") from error
        if isinstance(answer, dict) and answer.get("error") and "data" not in answer:
            raise RequestRefused(where, status, self.said(words, texts))
        return answer

    async def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, texts: int
    ) -> tuple[httpx.Response, bytes]:
        """Head and body of the answer, which must fit so many texts."""
        headers = {**self._trace_headers(), **UNPACKED}
        content = None
        if body is not None:
            # In ASCII: a text or a model's name may hold what is no character, such as \ud800.
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        most = min(_ANSWER_BYTES + texts * _TEXT_BYTES, _MOST_BYTES)
        async with self._client.stream(method, path, content=content, headers=headers) as response:
            return response, await whole_answer(response.aiter_raw(), response.headers, most)

    def _unavailable(self, reason: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(
            f"embedding server {self.shown} does not answer ({reason}); check that it runs"
        )


def _wait_s(response: httpx.Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None
