"""T5Generator: P5 or POD of a bundle, inside this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.batcher import Batcher
from shared.bundle import GENERATOR_FILE, Bundle
from shared.errors import BundleError, ConfigError, GeneratorUnavailable
from shared.item_tokens import read_tokens

if TYPE_CHECKING:
    from cloud_service.generation.beam import BeamSearch

MOST_HISTORIES = 32
WAIT_S = 0.002
_Lists = tuple[NDArray[np.int32], NDArray[np.float32]]


class T5Generator:
    """Beam search in one thread of its own; callers that come together share a batch.

    Nothing is loaded before ``ready`` or the first call. Lists do not depend on the batch they
    were written in: the beams are as many for every caller.

    Args:
        bundle: with a generator.
        n: length of the lists; fewer where the catalogue holds fewer.

    Raises:
        ConfigError: the bundle has no generator.
        BundleError: its item tokens do not fit the bundle.
    """

    def __init__(self, bundle: Bundle, *, n: int) -> None:
        spec = bundle.manifest.generator
        if spec is None:
            raise ConfigError(
                f"cloud.candidates_from is generative, but bundle {bundle.path} has no generator; "
                "export one with cloud.candidates_from=generative, or set it to semantic"
            )
        self._path, self._config = bundle.file(GENERATOR_FILE), spec.config
        self.tokens = read_tokens(bundle)
        self._excludes = bundle.manifest.repeat_policy == "exclude"
        room = bundle.manifest.n_items - (self._config.history if self._excludes else 0)
        if room < 1:
            raise ConfigError(
                f"the generator reads {self._config.history} items and never repeats one, but "
                f"there are {bundle.manifest.n_items} only; set cloud.candidates_from=semantic"
            )
        self._n = min(n, room)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generator")
        self._search: BeamSearch | None = None
        self._batcher: Batcher[tuple[int, ...], _Lists] = Batcher(
            self._write, most=MOST_HISTORIES, wait_s=WAIT_S
        )

    async def ready(self) -> None:
        if self._search is None:
            await self._run(self._load)

    async def candidates(self, history: NDArray[np.int64]) -> _Lists:
        if not len(history):
            raise ValueError("an empty history")
        return await self._batcher.value(tuple(history[-self._config.history :].tolist()))

    async def aclose(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _write(self, histories: Sequence[tuple[int, ...]]) -> list[_Lists]:
        await self.ready()
        lists: list[_Lists] = await self._run(self._decode, histories)
        return lists

    def _load(self) -> None:
        if self._search is not None:
            return
        try:
            from cloud_service.generation.beam import BeamSearch
            from cloud_service.generation.network import read_network
        except ImportError as error:
            raise GeneratorUnavailable(
                f"generated candidates need torch and transformers ({error}); install them or set "
                "cloud.candidates_from=semantic"
            ) from error
        try:
            self._search = BeamSearch(read_network(self._path, self._config), self.tokens)
        except (BundleError, ValueError) as error:
            raise GeneratorUnavailable(f"the generator cannot be loaded: {error}") from error

    def _decode(self, histories: Sequence[tuple[int, ...]]) -> list[_Lists]:
        import torch

        if self._search is None:
            raise GeneratorUnavailable("the generator is not loaded; call ready() first")
        width = self._config.history
        known = torch.full((len(histories), max(map(len, histories))), -1)
        banned = torch.full((len(histories), width), -1) if self._excludes else None
        for row, history in enumerate(histories):
            known[row, : len(history)] = torch.tensor(history)
            if banned is not None:
                banned[row, : len(history)] = torch.tensor(history)
        try:
            items, scores = self._search.search(known, self._n, banned)
        except RuntimeError as error:  # out of memory, for example
            raise GeneratorUnavailable(f"the generator failed: {error}") from error
        pairs = zip(items.numpy().astype(np.int32), scores.numpy(), strict=True)
        return [(row, score.astype(np.float32)) for row, score in pairs]
