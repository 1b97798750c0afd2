"""What a load test needs before it can begin: log, bundle and embedder, made where missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cloud_service.embedding.base import Embedder
from reports.marked import marked
from scalrec.console import ConsoleProgress
from scalrec.folders import find_bundle
from scalrec.jobs.enough import require_enough
from scalrec.settings import Settings
from scalrec.stack.embedder_server import ServedEmbedder
from scalrec.stack.embedders import embedders
from shared.bundle import Bundle, load_bundle
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Split
from training.background import in_thread
from training.data.degenerate import refuse_degenerate
from training.data.registry import load_log
from training.settings import Recipe
from training.splitting import split_of


@dataclass(frozen=True)
class Prepared:
    """Attributes:
    embedder: answers as the cloud's own.
    client: of what embeds for training, which need not be the same.
    """

    log: InteractionLog
    split: Split
    bundle: Bundle
    embedder: ServedEmbedder
    client: Embedder


async def read_log(settings: Recipe, progress: Progress) -> InteractionLog:
    """The log of the settings, loaded in a thread that a cancellation ends.

    Raises:
        DataError: the log is malformed, not there, or nothing can be learned or measured from it.
    """
    log = await in_thread(
        lambda stoppable: load_log(settings.log, cache=settings.cache, progress=stoppable), progress
    )
    refuse_degenerate(
        log,
        split_of(log, settings.training),
    )
    return log


@asynccontextmanager
async def prepared(
    settings: Settings,
    console: Console,
    *,
    bundle: Path | None,
    logs: Path,
    allow_fallback: bool,
    serves: bool,
) -> AsyncIterator[Prepared]:
    """Load the log, start the embedder, and train and export unless that is done already.

    Args:
        bundle: used as it is instead of training.
        logs: folder for the embedding server's log.
        serves: devices are going to ask the embedder.

    Raises:
        ScalrecError: whatever part failed, with what to do.
    """
    progress = ConsoleProgress(console)
    log = await read_log(settings, progress)
    for note in require_enough(log, settings):
        console.print(marked("[yellow]note[/] {}", note), highlight=False)
    if settings.embedder.lora is not None:
        # Here, not above: torch is loaded for training only.
        from training.tuning.stage import with_tuned_model

        settings = await with_tuned_model(settings, log, progress)
    async with (
        embedders(
            settings,
            serves=serves,
            logs=logs,
            progress=progress,
            console=console,
            allow_fallback=allow_fallback,
        ) as found,
        aclosing(found.training.connect(settings.training.threads)) as client,
    ):
        made = await _train(settings, log, client, progress) if bundle is None else None
        split = split_of(log, settings.training)
        served_bundle = made or load_bundle(bundle or find_bundle(settings))
        served = await found.serving()
        yield Prepared(log=log, split=split, bundle=served_bundle, embedder=served, client=client)


async def _train(
    settings: Settings, log: InteractionLog, client: Embedder, progress: ConsoleProgress
) -> Bundle:
    # Here, not above: torch is loaded for training only.
    from scalrec.jobs.exporting import exported
    from training.train import train

    trained = await train(settings, log, client, progress=progress)
    return (await exported(trained, settings, progress))[0]
