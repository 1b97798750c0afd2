"""VllmEmbedder: an OpenAI-compatible embedding server, such as vLLM, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from cloud_service.embedding.answers import matrix_of, rows_of
from cloud_service.embedding.base import (
    all_usable,
    model_content,
    normalised,
    require_identity,
)
from cloud_service.embedding.isolating import CONTROL, Answered, Isolating
from cloud_service.embedding.server_link import RequestRefused, ServerLink
from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderError, EmbedderMismatch

_PREFIXES = ("/v1", "")  # Infinity serves without /v1 unless told otherwise
_NOT_THERE = frozenset({404, 405, 501})
_MOST_NAMES, _MOST_NAME = 5, 80
Form = tuple[str, dict[str, Any]]  # path of embeddings and fields of a request, beside the texts


class VllmEmbedder:
    """Client of ``/v1/embeddings``. Vectors are L2-normalised, as vLLM's own are by default.

    Servers of that name differ in what they take and how they answer: which form of request one
    takes is found out by ``ready``, and every form of answer that says which vector is whose is
    read (see ``answers``). The server's pooling cannot be read over this API: whoever starts the
    server sets it, and ``pooling`` states it. ``truncate_prompt_tokens`` is sent to servers that
    tell their ``max_model_len`` (vLLM); it cuts as the model's tokenizer does, special tokens kept.

    Args:
        url: base URL of the server, with or without ``/v1``.
        model: name under which the server serves it (its last path component is enough).
        pooling: ``MEAN`` or ``LAST``, as the server was started.
        max_tokens: longer texts are cut to this many tokens.
        batch_size: texts in one HTTP request.
        concurrency: HTTP requests at once within one ``embed``.
        timeout_s: for one HTTP request. A deadline of the caller comes on top.
        api_key: sent as a bearer token.
        folder: of the model, where the server was started from it; it identifies the model.
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
        folder: Path | None = None,
        trace_headers: Callable[[], Mapping[str, str]] | None = None,
    ):
        self._link = ServerLink(
            url, timeout_s=timeout_s, api_key=api_key, trace_headers=trace_headers
        )
        self._model = model
        self._pooling = pooling
        self._max_tokens = max_tokens
        self._concurrency = concurrency
        self._folder = folder
        self._prefixes: tuple[str, ...] = _PREFIXES  # that of the list of models first, once known
        self._form: Form = ("", {})  # once known
        self._forms: list[dict[str, Any]] = []  # what the server may take, likeliest first
        self._batches = Isolating(self._answered, most=batch_size)
        self._numbered = True  # several answers of one request can be told apart
        self._identity: EmbedderIdentity | None = None
        self._proven = False  # vectors of this identity have come since it was learnt

    @property
    def identity(self) -> EmbedderIdentity:
        return require_identity(self._identity)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the vectors so far."""
        count = self._batches.shortened
        notes = []
        if count:
            notes.append(
                f"{count} {'text was' if count == 1 else 'texts were'} longer than the embedding "
                "server takes and cut to a half, a quarter or less"
            )
        if not self._numbered:
            notes.append("the embedding server does not number its answers: it gets one text each")
        return tuple(notes)

    async def ready(self) -> None:
        try:
            forms = await self._ask_model()
            # A list of models tells no dimension, and a server may be replaced unnoticed by
            # another that serves the same name: one that has not proved itself is measured again.
            if self._identity is None or not self._proven or forms != self._forms:
                await self._learn(forms)
        except EmbedderError:
            self._forget()
            raise

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._identity is None:
            await self.ready()
        dim = self.identity.dim
        if not texts:
            return np.zeros((0, dim), dtype=np.float32)
        slots = asyncio.Semaphore(self._concurrency)

        async def one(batch: Sequence[str]) -> Answered:
            async with slots:
                return await self._batches.embed(batch)

        size = self._batches.most
        starts = range(0, len(texts), size)
        tasks = [asyncio.ensure_future(one(texts[start : start + size])) for start in starts]
        try:
            answers = await asyncio.gather(*tasks)
        except EmbedderError:
            self._forget()
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._proven = True
        refused = {
            start + place: reason
            for start, (_, why) in zip(starts, answers, strict=True)
            for place, reason in why.items()
        }
        return all_usable(np.concatenate([unit for unit, _ in answers]), refused)

    async def aclose(self) -> None:
        await self._link.aclose()

    def _forget(self) -> None:
        """What answers next may be another server: ask who it is before trusting it."""
        self._identity, self._proven = None, False

    async def _ask_model(self) -> list[dict[str, Any]]:
        """Requests that the server may take for our model, likeliest first."""
        answer: Any = None
        for prefix in self._prefixes:
            try:
                answer = await self._link.call("GET", f"{prefix}/models")
            except RequestRefused as refusal:
                if refusal.status not in _NOT_THERE:
                    raise refusal.as_error() from refusal
            else:
                self._prefixes = (prefix, *(one for one in _PREFIXES if one != prefix))
                break
        # TEI has no such list: it serves one model, whatever the request calls it.
        card = {"id": self._model} if answer is None else self._card(answer)
        form = {"model": card["id"]}
        forms = [form | {"encoding_format": "base64"}, form, form | {"encoding_format": "float"}]
        longest = card.get("max_model_len")
        if isinstance(longest, int) and not isinstance(longest, bool) and longest > 0:
            cut = {"truncate_prompt_tokens": min(self._max_tokens, longest)}
            forms = [forms[0] | cut, form | cut, *forms]
        return forms

    def _card(self, answer: Any) -> dict[str, Any]:
        """The entry of our model in the server's list."""
        listed = answer.get("data") if isinstance(answer, dict) else answer
        if not isinstance(listed, list) or not all(
            isinstance(card, dict) and "id" in card for card in listed
        ):
            raise EmbedderMismatch(
                f"{self._link.shown}/v1/models does not answer as an OpenAI-compatible server"
            )
        cards = {str(card["id"]): card for card in listed}
        for same in (str, str.casefold):
            for name, card in cards.items():
                last = name.rstrip("/").split("/")[-1]
                if same(self._model) in {same(name), same(last), same(last.removesuffix(".gguf"))}:
                    return {**card, "id": name}
        names = [self._link.said(name)[:_MOST_NAME] for name in list(cards)[:_MOST_NAMES]]
        raise EmbedderMismatch(
            f"{self._link.shown} serves {', '.join(names) or 'no model'}, not {self._model}; start "
            f"it with --served-model-name {self._model} or set embedder.model"
        )

    async def _learn(self, forms: list[dict[str, Any]]) -> None:
        """The first of ``forms`` that is taken, and the dimension of what comes back."""
        first: RequestRefused | EmbedderMismatch | None = None
        likely = sorted(forms, key=lambda fields: fields != self._form[1])
        for prefix in self._prefixes:
            for fields in likely:
                form = (f"{prefix}/embeddings", fields)
                try:
                    unit, refused = await self._answered([CONTROL], form)
                except (RequestRefused, EmbedderMismatch) as error:
                    first = first or error
                    if isinstance(error, RequestRefused) and error.status in _NOT_THERE:
                        break
                    if isinstance(error, RequestRefused) and error.busy:
                        raise error.as_error() from error
                    continue
                if refused:
                    first = first or EmbedderMismatch(f"embedder answered {refused[0]}")
                    continue
                content = None
                if self._folder is not None:
                    content = await asyncio.to_thread(model_content, self._folder)
                self._forms, self._form = forms, form
                self._identity = EmbedderIdentity(
                    backend="vllm",
                    model=self._model,
                    pooling=self._pooling,
                    dim=unit.shape[1],
                    content=content,
                )
                return
        raise (
            first.as_error()
            if isinstance(first, RequestRefused)
            else first or EmbedderMismatch(f"{self._link.shown} takes no request for embeddings")
        )

    async def _answered(self, texts: Sequence[str], trial: Form | None = None) -> Answered:
        """Unit vectors of one request's texts; one request each where answers have no number.

        Args:
            trial: a form of request to try, with vectors of any dimension; None: the known ones.
        """
        path, fields = trial or self._form
        dim = None if trial else self.identity.dim

        async def rows(some: Sequence[str]) -> list[Any] | None:
            body = {**fields, "input": list(some)}
            return rows_of(await self._link.call("POST", path, body, some), len(some))

        found = await rows(texts) if self._numbered or len(texts) == 1 else None
        if found is None:
            self._numbered = False
            found = [row for text in texts for row in await rows([text]) or ()]
        matrix, unread = matrix_of(found, self._pooling, dim)
        unit, unusable = normalised(matrix, count=len(texts), dim=dim)
        return unit, unusable | unread
