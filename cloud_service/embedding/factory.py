"""The embedder that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from cloud_service.embedding.apart import ApartEmbedder
from cloud_service.embedding.base import Embedder, model_name
from cloud_service.embedding.batching import BatchingEmbedder
from cloud_service.embedding.hashing import HashingEmbedder, hashing_dim
from cloud_service.embedding.transformers import TransformersEmbedder
from cloud_service.embedding.vllm import VllmEmbedder
from cloud_service.settings import BACKENDS, EmbedderSettings
from shared.errors import ConfigError
from shared.tracing import Tracing


def create_embedder(
    settings: EmbedderSettings,
    *,
    model_dir: Path | None,
    url: str | None = None,
    threads: int | None = None,
    tracing: Tracing | None = None,
) -> Embedder:
    """An embedder that is not ready yet: nothing is loaded or connected here.

    With ``settings.query_apart`` one that embeds an abstract's query apart from the rest.

    Args:
        settings: which back end, model and pooling.
        model_dir: folder of the model that is used or served; None: a hub id or a path, or a
            server of somebody else, whatever it may hold.
        url: the embedding server of the vllm back end, if not ``settings.url``.
        threads: of the transformers back end.
        tracing: whose trace context the vllm back end passes on.

    Raises:
        ConfigError: the settings do not name what the back end needs, or there is no such one.
    """
    made = _create(settings, model_dir=model_dir, url=url, threads=threads, tracing=tracing)
    return ApartEmbedder(made) if settings.query_apart else made


def _create(
    settings: EmbedderSettings,
    *,
    model_dir: Path | None,
    url: str | None,
    threads: int | None,
    tracing: Tracing | None,
) -> Embedder:
    make = BACKENDS.load(settings.backend)
    if make is not None:
        made: Embedder = make(settings)
        return made
    if settings.backend not in BACKENDS.built_in:
        raise ConfigError(BACKENDS.unknown(settings.backend))
    if settings.backend == "hashing":
        return HashingEmbedder(hashing_dim(settings.model))
    if settings.backend == "transformers":
        return TransformersEmbedder(
            settings.model if model_dir is None else model_dir,
            model=model_name(settings.model),
            pooling=settings.pooling,
            max_tokens=settings.max_tokens,
            batch_size=settings.batch_size,
            threads=threads,
        )
    server = url or settings.url
    if server is None:
        raise ConfigError(
            "the vllm back end needs the address of an embedding server: set embedder.url, or let "
            "`scalrec simulate` start one"
        )
    client = VllmEmbedder(
        server,
        model=model_name(settings.model),
        pooling=settings.pooling,
        max_tokens=settings.max_tokens,
        batch_size=settings.batch_size,
        api_key=settings.api_key,
        folder=model_dir,
        trace_headers=None if tracing is None else tracing.headers,
    )
    return BatchingEmbedder(client, most=settings.batch_size)
