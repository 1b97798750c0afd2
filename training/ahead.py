"""Embedding texts on a core that fitting leaves free, before the stages that read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cloud_service.embedding.base import Embedder
from shared.split import Split
from training.background import cores
from training.refresh.stage import embed_walks, walk_anchors
from training.run import TrainingRun
from training.settings import Recipe

Afterwards = Callable[[Split], Awaitable[object]]


def core_to_spare(settings: Recipe, embedder: Embedder) -> bool:
    """Whether texts can be embedded beside fitting.

    Not by a server: it takes every core there is, and then both take several times as long.
    """
    inside = embedder.identity.backend == "transformers"
    return inside and settings.training.threads < cores()


async def embed_ahead(run: TrainingRun, afterwards: Afterwards | None = None) -> None:
    """What the stages after the backbone are going to ask for, in their order.

    What it did not get to is embedded by whoever asks for it; so its errors are theirs to meet.

    Nothing is embedded while ONNX is exported: torch switches oneDNN off in all threads meanwhile,
    and vectors would be others.
    """
    if not core_to_spare(run.settings, run.embedder):
        return
    if run.items in run.structure.upstream:
        await run.result(run.items)
    await run.text()
    await embed_walks(run, walk_anchors(run.split))
    if afterwards is not None:
        await afterwards(run.split)
