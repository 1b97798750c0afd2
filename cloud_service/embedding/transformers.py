"""TransformersEmbedder: the model inside this process, for machines without vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import (
    all_usable,
    model_content,
    normalised,
    require_identity,
)
from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderUnavailable
from shared.number_format import NumberFormat, cpu_number_format

if TYPE_CHECKING:
    import torch


_BATCHES_AT_ONCE = 4


class TransformersEmbedder:
    """Mean or last-token pooling of the last hidden states, L2-normalised, as vLLM does it.

    The model is loaded at ``ready`` and runs in one thread of its own, so that the event loop
    stays free; calls queue up behind each other.

    Args:
        source: folder with a Hugging Face model, or a hub id.
        model: name for the identity.
        pooling: ``MEAN`` (over the tokens of the text) or ``LAST``.
        max_tokens: longer texts are cut to this many tokens, special tokens kept.
        batch_size: texts in one forward pass; texts of as many tokens go together.
        threads: torch's intra-op threads; None leaves torch's choice.
        number_format: of weights and products; None: what this CPU is quickest in.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        model: str,
        pooling: str,
        max_tokens: int = 256,
        batch_size: int = 64,
        threads: int | None = None,
        number_format: NumberFormat | None = None,
    ):
        path = Path(source).expanduser()
        self._source = path if path.is_dir() else source
        self._model_name = model
        self._pooling = pooling
        self._max_tokens = max_tokens
        self._batch_size = batch_size
        self._threads = threads
        self._number_format = number_format
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._loaded: tuple[Any, Any] | None = None  # tokenizer, model
        self._identity: EmbedderIdentity | None = None

    @property
    def identity(self) -> EmbedderIdentity:
        return require_identity(self._identity)

    @property
    def texts_at_once(self) -> int:
        """Of many texts, a few batches in one call can be sorted, and are then padded least."""
        return _BATCHES_AT_ONCE * self._batch_size

    async def ready(self) -> None:
        if self._identity is None:
            await self._run(self._load)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        await self.ready()
        vectors: NDArray[np.float32] = await self._run(self._embed, list(texts))
        return vectors

    async def aclose(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _load(self) -> None:
        if self._identity is not None:
            return
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise EmbedderUnavailable(
                f"the transformers back end needs torch and transformers ({error}); install them "
                "or set embedder.backend to vllm"
            ) from error
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._source)
            dtype = _dtype(self._number_format or cpu_number_format())
            model = AutoModel.from_pretrained(self._source, dtype=dtype).eval()
        except Exception as error:  # what a damaged file raises shares no base class
            raise EmbedderUnavailable(
                f"cannot load the embedding model from {self._source}: {error}"
            ) from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Padding on the right for every model: both poolings below count on it.
        tokenizer.padding_side = "right"
        limit = getattr(model.config, "max_position_embeddings", None) or self._max_tokens
        self._max_tokens = min(self._max_tokens, int(limit), int(tokenizer.model_max_length))
        self._loaded = tokenizer, model
        self._identity = EmbedderIdentity(
            backend="transformers",
            model=self._model_name,
            pooling=self._pooling,
            dim=int(model.config.hidden_size),
            content=model_content(self._source),
        )

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        dim = self.identity.dim
        vectors = np.zeros((len(texts), dim), dtype=np.float32)
        failed: dict[int, str] = {}
        lengths = self._lengths(texts)
        by_length = sorted(range(len(texts)), key=lengths.__getitem__)
        for start in range(0, len(texts), self._batch_size):
            self._fill(vectors, by_length[start : start + self._batch_size], texts, failed)
        unit, refused = normalised(vectors, count=len(texts), dim=dim)
        return all_usable(unit, refused | failed)

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text; its characters, which say less, where one of them has no tokens."""
        if len(texts) <= 1 or self._loaded is None:
            return [0] * len(texts)
        try:
            encoded = self._loaded[0](texts, truncation=True, max_length=self._max_tokens)
            return [len(tokens) for tokens in encoded["input_ids"]]
        except (RuntimeError, ValueError, IndexError, TypeError):
            return [len(text) for text in texts]

    def _fill(
        self,
        vectors: NDArray[np.float32],
        rows: list[int],
        texts: list[str],
        failed: dict[int, str],
    ) -> None:
        """Vectors of ``rows``; by halves where the model stumbles over a batch."""
        try:
            vectors[rows] = self._forward([texts[i] for i in rows])
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if len(rows) == 1:
                # Not its message, which may hold the text.
                failed[rows[0]] = f"the model failed ({type(error).__name__})"
                return
            half = len(rows) // 2
            self._fill(vectors, rows[:half], texts, failed)
            self._fill(vectors, rows[half:], texts, failed)

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        if self._loaded is None:
            raise EmbedderUnavailable("the embedding model is not loaded; call ready() first")
        tokenizer, model = self._loaded
        tokens = tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        if not tokens["input_ids"].shape[1]:
            # A text without any token has no vector: a zero one says so.
            return np.zeros((len(texts), self.identity.dim), dtype=np.float32)
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state.float()  # [b, t, m]
            pooled = pool(states, tokens["attention_mask"], self._pooling)
        vectors: NDArray[np.float32] = pooled.numpy()
        return vectors


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector per text [b, m] from token states [b, t, m] and their 0/1 mask [b, t].

    ``MEAN`` averages the states of the text's own tokens, ``LAST`` takes its last one. The
    padding must be on the right.
    """
    lengths = mask.sum(dim=1, keepdim=True)
    if pooling == "LAST":
        rows = states.new_tensor(range(len(states))).long()
        return states[rows, (lengths[:, 0] - 1).clamp(min=0)]
    return (states * mask[:, :, None]).sum(dim=1) / lengths.clamp(min=1)


def _dtype(number_format: NumberFormat) -> torch.dtype:
    import torch

    return torch.bfloat16 if number_format == "bfloat16" else torch.float32
