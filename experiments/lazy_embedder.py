"""LazyEmbedder: an embedder that starts when the first text is not in the cache."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.apart import apart
from cloud_service.embedding.base import Embedder, model_content, model_name, notes_of
from cloud_service.embedding.factory import create_embedder
from cloud_service.settings import EmbedderSettings
from experiments.settings import CellSettings
from launch.model_files import resolve_model
from shared.bundle import EmbedderIdentity
from shared.errors import ConfigError, EmbedderMismatch


class LazyEmbedder:
    """Knows its identity at once, which is all that the embedding cache is asked with.

    Args:
        identity: what the real one will say it is; checked when it starts.
        start: starts and returns the real one, not ready yet.
    """

    def __init__(
        self, identity: EmbedderIdentity, start: Callable[[], Awaitable[Embedder]]
    ) -> None:
        self._identity = identity
        self._start = start
        self._real: Embedder | None = None
        self._lock = asyncio.Lock()

    @property
    def identity(self) -> EmbedderIdentity:
        return self._identity

    @property
    def started(self) -> bool:
        return self._real is not None

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._real is None else notes_of(self._real)

    async def ready(self) -> None:
        """Nothing to wait for until a text comes."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        real = await self._started()
        return await real.embed(texts)

    async def aclose(self) -> None:
        if self._real is not None:
            await self._real.aclose()
            self._real = None

    async def _started(self) -> Embedder:
        async with self._lock:  # several batches may ask at the same time
            if self._real is None:
                real = await self._start()
                try:
                    await real.ready()
                    if real.identity != self._identity:
                        raise EmbedderMismatch(
                            f"expected the embedder {self._identity}, found {real.identity}"
                        )
                except BaseException:
                    await real.aclose()
                    raise
                self._real = real
            return self._real


def identity_of(settings: EmbedderSettings, model_dir: Path) -> EmbedderIdentity:
    """Identity of a model that is not loaded, from the config.json of its folder.

    Raises:
        ConfigError: the folder does not say how long the model's vectors are.
    """
    path = model_dir / "config.json"
    try:
        dim = int(json.loads(path.read_text())["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} does not give the model's hidden_size: {error!r}") from error
    identity = EmbedderIdentity(
        backend=settings.backend,
        model=model_name(settings.model),
        pooling=settings.pooling,
        dim=dim,
        content=model_content(model_dir),
    )
    return apart(identity) if settings.query_apart else identity


def lazy_embedder(settings: CellSettings, start: Callable[[Path], Awaitable[Embedder]]) -> Embedder:
    """The embedder of the settings; where that takes a model, started when first asked.

    Args:
        start: gives the real one from the model's folder.

    Raises:
        ConfigError: the model cannot be had.
    """
    wanted = settings.embedder
    if not wanted.needs_model:
        return create_embedder(wanted, model_dir=None, threads=settings.training.threads)
    model_dir = resolve_model(wanted.model, cache=settings.cache)
    return LazyEmbedder(identity_of(wanted, model_dir), partial(start, model_dir))
