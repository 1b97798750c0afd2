"""UserModel: an abstract in words becomes e_sem, the semantic user embedding."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cloud_service.coalescing import Coalescer
from cloud_service.embedding.base import Embedder
from shared.bundle import Bundle, EmbedderIdentity
from shared.errors import EmbedderError, EmbedderMismatch, EmbedderUnavailable

T = TypeVar("T")


class UserModel:
    """e_sem = project(embed(abstract)), SCaLRec eq. 3.

    Refuses an embedder other than the one the bundle's projector was fitted on, and asks again
    who it is whenever it had failed.

    Args:
        bundle: holds ``projector.onnx``.
        embedder: need not answer yet.
        deadline_s: for one ``e_sem`` or ``check``; None waits as long as the embedder does.
    """

    def __init__(self, bundle: Bundle, embedder: Embedder, *, deadline_s: float | None = None):
        options = ort.SessionOptions()
        # One projection costs microseconds: more threads would only compete with the embedder.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            bundle.file("projector.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._expected = bundle.manifest.embedder
        self._dim = bundle.manifest.dim
        self._embedder = embedder
        self._deadline_s = deadline_s
        self._verified = False
        self._checks: Coalescer[str, None] = Coalescer()

    async def check(self) -> None:
        """Return when the embedder answers and is the bundle's.

        Raises:
            EmbedderUnavailable: no answer within the deadline.
            EmbedderMismatch: another model, pooling or dimension; the message names both.
        """
        await self._within_deadline(self._checks.run("check", self._check))

    async def e_sem(
        self, abstracts: Sequence[str], *, deadline_s: float | None = None
    ) -> NDArray[np.float32]:
        """Semantic embeddings of n abstracts: [n, d] float32, finite, none of them zero.

        Args:
            deadline_s: for this call; None: the model's own.

        Raises:
            EmbedderUnavailable: no answer within the deadline.
            EmbedderMismatch: unusable vectors, or another model than the bundle's.
        """
        return await self._within_deadline(self._e_sem(abstracts), deadline_s)

    def project(self, text: NDArray[np.float32]) -> NDArray[np.float32]:
        """Text embeddings [n, m] to semantic user embeddings [n, d]."""
        if text.ndim != 2 or text.shape[1] != self._expected.dim:
            raise EmbedderMismatch(
                f"text embeddings of shape {text.shape} do not fit a projector of "
                f"{self._expected.dim} inputs"
            )
        (e_sem,) = self._session.run(["e_sem"], {"text": text.astype(np.float32, copy=False)})
        result: NDArray[np.float32] = np.asarray(e_sem, dtype=np.float32)
        if result.shape != (len(text), self._dim) or not np.isfinite(result).all():
            raise EmbedderMismatch("the projector gave values that are not finite")
        return result

    async def _e_sem(self, abstracts: Sequence[str]) -> NDArray[np.float32]:
        if not self._verified:
            await self._checks.run("check", self._check)
        try:
            e_sem = self.project(await self._embedder.embed(abstracts))
        except EmbedderError:
            self._verified = False  # what answers next may be another server
            raise
        if not np.any(e_sem, axis=1).all():
            raise EmbedderMismatch("the projector gave a zero embedding")
        return e_sem

    async def _check(self) -> None:
        self._verified = False
        await self._embedder.ready()
        served = self._embedder.identity
        if _comparable(served) != _comparable(self._expected):
            raise EmbedderMismatch(
                f"the bundle was trained with {_words(self._expected)}, but the embedder is "
                f"{_words(served)}; serve that model or train a bundle for this one"
            )
        self._verified = True

    async def _within_deadline(
        self, work: Coroutine[Any, Any, T], deadline_s: float | None = None
    ) -> T:
        if deadline_s is None:
            deadline_s = self._deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                return await work
        except TimeoutError as error:
            raise EmbedderUnavailable(
                f"the embedder did not answer within {deadline_s:.3g} s"
            ) from error


def _comparable(identity: EmbedderIdentity) -> tuple[str, str, int]:
    """Without the back end: vLLM and transformers give the same vectors of a model."""
    return identity.model, identity.pooling, identity.dim


def _words(identity: EmbedderIdentity) -> str:
    return f"{identity.model} ({identity.pooling} pooling, {identity.dim} dimensions)"
