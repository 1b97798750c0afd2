"""UserModel: an abstract in words becomes e_sem, the semantic user embedding."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cloud_service.coalescing import Coalescer
from cloud_service.embedding.base import Embedder, TextsRefused
from shared.bundle import Bundle, EmbedderIdentity
from shared.errors import EmbedderError, EmbedderMismatch, EmbedderUnavailable
from shared.fixed_texts import MOST_TEXTS, TEXTS, FixedTexts, difference, read_fixed_texts

T = TypeVar("T")
PROVE_EVERY_S = 10.0  # between fixed texts that an embedder is checked by


class UserModel:
    """e_sem = project(embed(abstract)), SCaLRec eq. 3.

    Refuses an embedder other than the one the bundle's projector was fitted on, and asks again
    who it is whenever it had failed. What an embedder says of itself proves little: it is measured
    by the vectors that the bundle keeps of fixed texts, all of them once, then by one of them each
    time it must prove that it works.

    Args:
        bundle: holds ``projector.onnx``.
        embedder: need not answer yet.
        deadline_s: for one ``e_sem`` or ``check``; None waits as long as the embedder does.

    Raises:
        BundleError: the bundle's fixed texts are unusable.
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
        self._fixed = read_fixed_texts(bundle)
        self._cosines = np.zeros(0)  # of fixed texts that were measured, from the first on
        self._at_once = MOST_TEXTS  # of them in one call
        self._turn = 0  # which fixed text comes next as a proof of work
        self._verified = False
        self._proven_at = -math.inf  # event loop's clock
        self._checks: Coalescer[str, None] = Coalescer()

    @property
    def measured(self) -> bool:
        """The bundle tells what its text model makes of fixed texts."""
        return self._fixed is not None

    def fixed_embeddings(self) -> NDArray[np.float32] | None:
        """[k, d] of the bundle's fixed texts, as it keeps their vectors; None: it keeps none."""
        return None if self._fixed is None else self.project(self._fixed.vectors)

    async def check(self) -> None:
        """Return when the embedder is the bundle's and has embedded a fixed text of late.

        Of late: within PROVE_EVERY_S, else it is asked for one now. Servers that only say that
        they are well are not believed, and answers to devices do not tell whose they are.

        Raises:
            EmbedderUnavailable: no answer within the deadline.
            EmbedderMismatch: another model, pooling or dimension; the message says how it differs.
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
        except TextsRefused:
            raise  # the text's fault: the embedder works
        except EmbedderError:
            self._verified = False  # what answers next may be another server
            raise
        if not np.any(e_sem, axis=1).all():
            raise EmbedderMismatch("the projector gave a zero embedding")
        return e_sem

    async def _check(self) -> None:
        was_verified, self._verified = self._verified, False
        await self._embedder.ready()
        self._compare(self._embedder.identity)
        if self._fixed is not None and len(self._cosines) < len(self._fixed.texts):
            await self._measure(self._fixed)
        elif not was_verified or _now() - self._proven_at > PROVE_EVERY_S:
            await self._prove()
        self._verified = True

    def _compare(self, served: EmbedderIdentity) -> None:
        """Raises EmbedderMismatch where what both say of themselves rules out that they agree."""
        expected = self._expected
        # With vectors to compare, names do not matter: they decide.
        if self._fixed is not None and served.dim == expected.dim:
            return
        if _comparable(served) != _comparable(expected):
            raise EmbedderMismatch(
                f"the bundle was trained with {_words(expected)}, but the embedder is "
                f"{_words(served)}; serve that model or train a bundle for this one"
            )
        if None not in (served.content, expected.content) and served.content != expected.content:
            raise EmbedderMismatch(
                f"the embedder serves another model of the name {served.model} than the bundle was "
                f"trained with: files of hash {served.content}, not {expected.content}; serve that "
                "model or train a bundle for this one"
            )

    async def _measure(self, fixed: FixedTexts) -> None:
        """Compare all fixed texts; where the deadline cuts that off, the next check goes on."""
        while (done := len(self._cosines)) < len(fixed.texts):
            try:
                found = await self._embed_fixed(fixed.texts[done : done + self._at_once])
            except asyncio.CancelledError:
                self._at_once = max(1, min(self._at_once, len(fixed.texts)) // 2)
                raise
            self._cosines = np.concatenate([self._cosines, fixed.cosines(found, done)])
        self._require_same(fixed.texts, self._cosines)

    async def _prove(self) -> None:
        """Embed and project one text; the next one at the next time, so that no cache answers."""
        texts = TEXTS if self._fixed is None else self._fixed.texts
        place = self._turn % len(texts)
        self._turn += 1
        found = await self._embed_fixed(texts[place : place + 1])
        if self._fixed is not None:
            self._require_same(texts[place : place + 1], self._fixed.cosines(found, place))

    async def _embed_fixed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        try:
            found = await self._embedder.embed(texts)
        except TextsRefused as error:
            raise EmbedderMismatch(f"no vector of a text that any model takes: {error}") from error
        self.project(found)
        self._proven_at = _now()
        return found

    def _require_same(self, texts: tuple[str, ...], cosines: NDArray[np.float64]) -> None:
        how = difference(texts, cosines)
        if how is None:
            return
        self._cosines = np.zeros(0)  # all of them again: another server may take its place
        served, trained = self._embedder.identity, self._expected
        advice = "Serve that model as it was served then, or train a bundle for this one"
        if (trained.backend, served.backend) == ("transformers", "vllm"):
            advice += "; embedder.bulk=served lets the server embed for training, too"
        raise EmbedderMismatch(
            f"the embedder ({_words(served)}) gives other vectors than the text model that the "
            f"bundle was trained with ({_words(trained)}): {how}. {advice}"
        )

    async def _within_deadline(
        self, work: Coroutine[Any, Any, T], deadline_s: float | None = None
    ) -> T:
        if deadline_s is None:
            deadline_s = self._deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                return await work
        except TimeoutError as error:
            self._proven_at = -math.inf
            raise EmbedderUnavailable(
                f"the embedder did not answer within {deadline_s:.3g} s"
            ) from error


def _comparable(identity: EmbedderIdentity) -> tuple[str, str, int]:
    """Without the back end: vLLM and transformers give the same vectors of a model."""
    return identity.model, identity.pooling, identity.dim


def _words(identity: EmbedderIdentity) -> str:
    return f"{identity.model} ({identity.pooling} pooling, {identity.dim} dimensions)"


def _now() -> float:
    return asyncio.get_running_loop().time()
