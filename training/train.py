"""Training: from an interaction log to all that a bundle needs, in order."""

from __future__ import annotations

from dataclasses import replace

from cloud_service.embedding.base import Embedder
from shared.interactions import InteractionLog
from shared.progress import NullProgress, Progress
from training.ahead import Afterwards, embed_ahead
from training.background import beside
from training.collaboration.stage import with_collaboration
from training.refresh.stage import with_refreshes
from training.run import opened_run
from training.settings import Recipe
from training.trained import TrainedModel


async def train(
    settings: Recipe,
    log: InteractionLog,
    embedder: Embedder,
    *,
    progress: Progress | None = None,
    force: bool = False,
    afterwards: Afterwards | None = None,
) -> TrainedModel:
    """Train everything a bundle needs, or reuse what earlier runs under ``work_dir`` finished.

    Args:
        embedder: must be the one the cloud will serve with; embeddings are cached under
            ``settings.cache``.
        force: compute all stages anew (embeddings stay cached).
        afterwards: embeds what the caller is going to ask for. It is called if training's own texts
            are done while models are still fitted, and cancelled when those are done.

    Raises:
        DataError: the log is too small to train on, or training diverged.
        EmbedderError: the embedder does not answer or answers unusable vectors.
        ConfigError: the work or cache folder cannot be written.
    """
    async with opened_run(settings, log, embedder, progress or NullProgress(), force=force) as run:
        async with beside(embed_ahead(run, afterwards)):
            trained = await with_refreshes(run, await run.all())
        trained = await with_collaboration(run, trained)
        # The stages after those of ``all``, too.
        return replace(
            trained,
            keys=dict(run.store.keys),
            stage_seconds=dict(run.store.seconds),
            reused=tuple(run.store.reused),
        )
