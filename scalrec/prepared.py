"""What a load test needs before it can begin: log, bundle and embedder, made where missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cloud_service.embedding.base import Embedder
from scalrec.bundles import bundle_dir
from scalrec.console import ConsoleProgress
from scalrec.embedder_server import ServedEmbedder, served_embedder
from scalrec.settings import Settings
from shared.bundle import Bundle, load_bundle
from shared.interactions import InteractionLog
from shared.split import Split, split_log
from training.background import in_thread
from training.datasets.registry import load_log


@dataclass(frozen=True)
class Prepared:
    """Attributes: embedder answers as the cloud's own; client is a connection to it."""

    log: InteractionLog
    split: Split
    bundle: Bundle
    embedder: ServedEmbedder
    client: Embedder


@asynccontextmanager
async def prepared(
    settings: Settings,
    console: Console,
    *,
    bundle: Path | None,
    logs: Path,
    allow_fallback: bool,
) -> AsyncIterator[Prepared]:
    """Load the log, start the embedder, and train and export unless that is done already.

    Args:
        bundle: used as it is instead of training.
        logs: folder for the embedding server's log.

    Raises:
        ScalrecError: whatever part failed, with what to do.
    """
    progress = ConsoleProgress(console)
    log = await in_thread(
        lambda stoppable: load_log(settings.log, cache=settings.cache, progress=stoppable), progress
    )
    if settings.embedder.lora is not None:
        # Here, not above: torch is loaded for training only.
        from training.tuning.stage import with_tuned_model

        settings = await with_tuned_model(settings, log, progress)
    async with (
        served_embedder(
            settings, logs=logs, progress=progress, console=console, allow_fallback=allow_fallback
        ) as served,
        aclosing(served.connect(settings.training.threads)) as client,
    ):
        made = await _train(settings, log, client, progress) if bundle is None else None
        options = settings.training
        split = split_log(
            log, test_steps=options.test_steps, validation_steps=options.validation_steps
        )
        served_bundle = made or load_bundle(bundle or bundle_dir(settings))
        yield Prepared(log, split, served_bundle, served, client)


async def _train(
    settings: Settings, log: InteractionLog, client: Embedder, progress: ConsoleProgress
) -> Bundle:
    # Here, not above: torch is loaded for training only.
    from scalrec.training import export_if_changed
    from training import pipeline

    trained = await pipeline.train(settings, log, client, progress=progress)
    bundle, _ = await in_thread(
        lambda stoppable: export_if_changed(
            trained, settings, bundle_dir(settings), progress=stoppable
        ),
        progress,
    )
    return bundle
