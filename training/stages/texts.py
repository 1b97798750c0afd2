"""The stages that embed texts: of the items, and of the abstracts that training reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import device_runtime.abstract
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import Window
from device_runtime.state.item_sets import distinct
from shared.abstract_form import AbstractForm
from shared.interactions import Catalogue, InteractionLog
from shared.profile import DeviceProfile
from shared.progress import Progress
from training.semantic.anchors import Anchors, write_abstracts_yielding
from training.semantic.texts import NameOf
from training.stages.embedding import EMBEDDING, TextEmbedding
from training.stages.forms import MATRIX
from training.stages.stage import Stage

Vectors = NDArray[np.float32]
WRITING = (write_abstracts_yielding, device_runtime.abstract, Window, distinct)


def items_stage(
    texts: Sequence[str], embedding: TextEmbedding, name: NameOf = "item {}".format
) -> Stage[Vectors]:
    """[I, m] embeddings of the items' texts; ``name`` is what people call an item."""

    async def build(progress: Progress) -> Vectors:
        return await embedding.vectors(texts, "embedding items", progress, name)

    return Stage(
        name="items",
        options=embedding.decides,
        inputs={"texts": texts},
        code=(items_stage, *EMBEDDING),
        build=build,
        form=MATRIX,
    )


def item_name(catalogue: Catalogue) -> NameOf:
    """What people call an item."""
    return lambda item: f"item {catalogue.ids[item]!r}, {catalogue.titles[item][:60]!r}"


def abstract_name(anchors: Anchors) -> NameOf:
    """Whose abstract it is."""
    return lambda at: f"abstract of user {anchors.user[at]} after {anchors.tau[at]} events"


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
        return await embedding.vectors(
            texts, "embedding abstracts", progress, abstract_name(anchors)
        )

    return Stage(
        name="abstracts",
        options=(embedding.decides, form, profile.model_dump(include={"window", "retain"})),
        inputs={"log": log, "anchors": anchors},
        code=(abstracts_stage, *EMBEDDING, *WRITING),
        build=build,
        form=MATRIX,
    )
