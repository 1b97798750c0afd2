"""The stages that embed texts: of the items, and of the abstracts that training reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import device_runtime.abstract
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import Window
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.progress import Progress
from training.semantic.anchors import Anchors, write_abstracts_yielding
from training.stages.embedding import EMBEDDING, TextEmbedding
from training.stages.forms import MATRIX
from training.stages.stage import Stage

Vectors = NDArray[np.float32]
WRITING = (write_abstracts_yielding, device_runtime.abstract, Window)


def items_stage(texts: Sequence[str], embedding: TextEmbedding) -> Stage[Vectors]:
    """[I, m] embeddings of the items' texts."""

    async def build(progress: Progress) -> Vectors:
        return await embedding.vectors(texts, "embedding items", progress)

    return Stage(
        name="items",
        options=embedding.decides,
        inputs={"texts": texts},
        code=(items_stage, *EMBEDDING),
        build=build,
        form=MATRIX,
    )


def abstracts_stage(
    log: InteractionLog,
    anchors: Anchors,
    form: AbstractForm,
    profile: DeviceProfile,
    embedding: TextEmbedding,
) -> Stage[Vectors]:
    """[A, m] embeddings of what a device would send at every anchor.

    Args:
        log: all that writers may read, see ``told_to_writers``.
    """

    async def build(progress: Progress) -> Vectors:
        writer = TemplateAbstract(log.catalogue, form)
        texts = await write_abstracts_yielding(log, anchors, writer, profile)
        return await embedding.vectors(texts, "embedding abstracts", progress)

    return Stage(
        name="abstracts",
        options=(embedding.decides, form, profile.model_dump(include={"window", "retain"})),
        inputs={"log": log, "anchors": anchors},
        code=(abstracts_stage, *EMBEDDING, *WRITING),
        build=build,
        form=MATRIX,
    )
