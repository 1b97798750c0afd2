"""ScoredRequests: the steps a study is scored on, encoded and embedded at every age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from device_runtime.abstract.writer import TemplateAbstract
from shared.split import Steps
from training.backbone.batches import events_of, sessions_of
from training.run import TrainingRun
from training.semantic.anchors import stale_anchors, write_abstracts_yielding
from training.semantic.requests import Requests, make_requests
from training.trained import TrainedModel


@dataclass(frozen=True, eq=False)
class ScoredRequests:
    """Of all anchors: the scored steps and the older ones their snapshots are from.

    Attributes:
        steps: the last ``paper.steps`` test steps of every user.
        texts: the abstract at every anchor.
        e_sem: [A, d] its embedding.
        words: [A, d] what the text student makes of it; None without one.
    """

    steps: Steps
    requests: Requests
    texts: Sequence[str]
    e_sem: Tensor
    words: Tensor | None


async def encode_scored(run: TrainingRun, trained: TrainedModel) -> ScoredRequests:
    """Encode and embed what ``paper.steps`` and ``paper.gaps`` name.

    Raises:
        EmbedderError: the embedder does not answer or answers unusable vectors.
    """
    settings, log = run.settings, run.log
    steps = run.split.last_test(settings.paper.steps)
    anchors = stale_anchors(steps, settings.paper.gaps)
    writer = TemplateAbstract(log.catalogue, settings.abstract.form)
    texts = await write_abstracts_yielding(log, anchors, writer, settings.profile)
    text = torch.from_numpy(await run.embed(texts, "embedding test abstracts"))
    requests = make_requests(
        trained.backbone.model,
        trained.backbone.table,
        events_of(log),
        anchors,
        run.progress,
        sessions_of(log),
    )
    with torch.no_grad():
        e_sem = trained.projector.projector(text)
    return ScoredRequests(
        steps=steps,
        requests=requests,
        texts=texts,
        e_sem=e_sem,
        words=run.words_at(trained, anchors),
    )
