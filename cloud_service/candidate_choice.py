"""CandidateChoice: where a snapshot's candidates come from, and what stands in when that fails."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from cloud_service.generation.base import Generator
from cloud_service.retrieval.base import CandidateIndex
from cloud_service.telemetry.telemetry import Telemetry
from shared.errors import GeneratorUnavailable

Candidates = tuple[NDArray[np.int32], NDArray[np.float32]]


class CandidateChoice:
    """Generated candidates where there is a generator and the device told its items; else those
    retrieved with e_sem, so that a device always gets some.

    Args:
        index: e_sem -> candidates.
        generator: None retrieves always.
        telemetry: where sources and failures are counted.
        n: candidates wanted.
    """

    def __init__(
        self, index: CandidateIndex, generator: Generator | None, telemetry: Telemetry, *, n: int
    ) -> None:
        self._index = index
        self._generator = generator
        self._metrics, self._log = telemetry.metrics, telemetry.log
        self._n = n

    async def choose(
        self,
        e_sem: NDArray[np.float32],
        history: NDArray[np.int64] | None,
        *,
        deadline_s: float,
    ) -> Candidates:
        """Items [N] int32 and scores [N] float32, best first.

        Args:
            e_sem: [d].
            history: [L] items the device told, oldest first; None or empty: it told none.
            deadline_s: for the generator; retrieval takes its place afterwards.
        """
        source = "semantic"
        if self._generator is not None:
            written = None
            source = "no_tokens"
            if history is not None and len(history):
                written = await self._generate(self._generator, history, deadline_s)
                source = "generator_failed" if written is None else "generative"
            if written is not None:
                self._metrics.candidates.labels(source).inc()
                return written
        self._metrics.candidates.labels(source).inc()
        items, scores = self._index.search(e_sem[None], self._n)
        return items[0], scores[0]

    async def _generate(
        self, generator: Generator, history: NDArray[np.int64], deadline_s: float
    ) -> Candidates | None:
        try:
            with self._metrics.generate_seconds.time():
                async with asyncio.timeout(deadline_s):
                    return await generator.candidates(history)
        except (GeneratorUnavailable, TimeoutError) as error:
            reason = str(error) or f"no answer within {deadline_s:.3g} s"
            self._log.warning("generator failed", reason=reason)
            return None
