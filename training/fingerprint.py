"""Keys of the training stages: hashes over all that their results depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from shared.bundle import EmbedderIdentity, encode_catalogue
from shared.interactions import InteractionLog
from training.objective import RepeatPolicy
from training.options import (
    backbone_options,
    calibration_options,
    encoder_config,
    gate_options,
    projector_options,
)
from training.settings import Recipe
from training.sources import SourceTree
from training.stages import stage_key

# What each stage computes with; the rest of the pipeline only passes results on. A stage's key
# holds the keys of the stages it reads, so their code is not named again.
_ENTRIES = {
    "items": ("training.semantics", "training.pipeline:TrainingRun.embed"),
    "backbone": (
        "training.backbone",
        "training.semantics",
        "shared.split",
        "training.pipeline:TrainingRun.fit_backbone",
        "training.pipeline:events_of",
    ),
    "abstracts": (
        "training.anchors",
        "training.semantics",
        "device_runtime.abstract",
        "training.pipeline:TrainingRun.__init__",
        "training.pipeline:TrainingRun.embed_abstracts",
        "training.pipeline:TrainingRun.embed",
        "training.pipeline:VALIDATION_GAPS",
    ),
    "projector": (
        "training.projector",
        "training.requests",
        "training.pipeline:TrainingRun.__init__",
        "training.pipeline:TrainingRun.fit_projector",
        "training.pipeline:TrainingRun.requests",
        "training.pipeline:sessions_of",
        "training.pipeline:TrainingRun.rows",
    ),
    "calibration": (
        "training.calibration_fit",
        "training.pairs",
        "training.requests",
        "training.pipeline:TrainingRun.__init__",
        "training.pipeline:TrainingRun.fit_calibration",
        "training.pipeline:TrainingRun.calibration_pairs",
        "training.pipeline:TrainingRun.block",
        "training.pipeline:STALE_PARTNERS",
        "training.pipeline:TRAINING_PER_BLOCK",
        "training.pipeline:TrainingRun.requests",
        "training.pipeline:sessions_of",
        "training.pipeline:TrainingRun.rows",
    ),
}
_PACKAGES = ("training", "device_runtime", "shared")
# They word errors, show progress and name types; logs and embedders are hashed by what they hold.
_NO_PART_OF_A_STAGE = frozenset({"shared.errors", "shared.progress", "shared.bundle"})


def fingerprint(log: InteractionLog) -> str:
    """Hash over everything of a log that training reads."""
    digest = hashlib.sha256(encode_catalogue(log.catalogue))
    for column in (log.user, log.item, log.time, log.utc_offset_min, log.session):
        digest.update(b"-" if column is None else str(column.dtype).encode() + column.tobytes())
    digest.update("\0".join(log.query or ()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def items_read(settings: Recipe, items: str, log: InteractionLog) -> str:
    """What a device model learns from: key of the ``items`` stage, or of the log without it."""
    return items if settings.training.item_start == "text" else fingerprint(log)


def code_hashes(backbone: str = "sasrec", root: Path | None = None) -> dict[str, str]:
    """Hash over the code that decides what a stage computes, by stage.

    Args:
        backbone: the encoder that is trained; the others' code is no part of a stage.
        root: folder of the packages; that of this very code when None.
    """
    root = root or Path(__file__).parents[1]
    tree = SourceTree(root, _PACKAGES, _NO_PART_OF_A_STAGE)
    chosen = _ENTRIES["backbone"] + (f"training.encoders.{backbone}",)
    entries = {**_ENTRIES, "backbone": chosen}
    return {stage: tree.hash(of_stage) for stage, of_stage in entries.items()}


def code_hash_with_cloud(entries: tuple[str, ...]) -> str:
    """Hash over the code of a stage that trains what the cloud runs, the cloud's code with it."""
    tree = SourceTree(Path(__file__).parents[1], (*_PACKAGES, "cloud_service"), _NO_PART_OF_A_STAGE)
    return tree.hash(entries)


def stage_keys(
    settings: Recipe, log: InteractionLog, embedder: EmbedderIdentity, policy: RepeatPolicy
) -> dict[str, str]:
    """Key of every stage, by name: its own inputs and the keys of the stages it reads."""
    options = settings.training
    code = code_hashes(options.backbone)
    base: dict[str, Any] = {"torch": torch.__version__}
    text = {
        "data": fingerprint(log),
        "embedder": embedder.model_dump(),
        "max_tokens": settings.embedder.max_tokens,
    }
    fit = base | {"seed": settings.seed, "threads": options.threads}
    split = {"test": options.test_steps, "validation": options.validation_steps}
    split["calibration"] = options.calibration_steps
    items = stage_key(code=code["items"], **base, **text)
    backbone = stage_key(
        code=code["backbone"],
        **fit,
        upstream=[items_read(settings, items, log)],
        split=split,
        config=encoder_config(settings, has_time=log.time is not None).model_dump(),
        options=backbone_options(settings, policy, len(log.catalogue)).model_dump(mode="json"),
    )
    abstracts = stage_key(
        code=code["abstracts"],
        **base,
        **text,
        split=split,
        per_user=options.abstracts_per_user,
        profile=settings.profile.model_dump(include={"window", "retain"}),
        abstract=settings.abstract.form.model_dump(),
    )
    projector = stage_key(
        code=code["projector"],
        **fit,
        upstream=[backbone, abstracts],
        options=projector_options(settings, policy).model_dump(),
    )
    calibration = stage_key(
        code=code["calibration"],
        **fit,
        upstream=[projector],
        options=calibration_options(settings, policy).model_dump(),
    )
    gate = stage_key(
        code=code["calibration"],
        **fit,
        upstream=[projector],
        options=gate_options(settings, policy).model_dump(),
    )
    return {
        "items": items,
        "backbone": backbone,
        "abstracts": abstracts,
        "projector": projector,
        "calibration": calibration,
        "gate": gate,
    }
