"""Keys of the training stages: hashes over all that their results depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

import device_runtime
import shared.errors
import training
from shared.bundle import EmbedderIdentity, encode_catalogue
from shared.interactions import InteractionLog
from shared.settings import Settings
from training.objective import RepeatPolicy
from training.options import (
    backbone_options,
    calibration_options,
    encoder_config,
    projector_options,
)
from training.stages import source_hash, stage_key

# Logs are hashed by content; export and its check read stages without changing them.
_NO_PART_OF_A_STAGE = ("datasets", "export.py", "parity.py")
_DEVICE_PARTS = ("abstract.py", "cues.py", "sanitise.py")
_SHARED_PARTS = ("interactions.py", "metrics.py", "split.py")


def fingerprint(log: InteractionLog) -> str:
    """Hash over everything of a log that training reads."""
    digest = hashlib.sha256(encode_catalogue(log.catalogue))
    for column in (log.user, log.item, log.time, log.utc_offset_min):
        digest.update(b"-" if column is None else str(column.dtype).encode() + column.tobytes())
    digest.update("\0".join(log.query or ()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def code_hash() -> str:
    """Hash over the sources that decide what a stage computes."""
    device, contracts = Path(device_runtime.__file__).parent, Path(shared.errors.__file__).parent
    sources = [
        Path(training.__file__).parent,
        *(device / name for name in _DEVICE_PARTS),
        *(contracts / name for name in _SHARED_PARTS),
    ]
    return source_hash(sources, leave_out=_NO_PART_OF_A_STAGE)


def stage_keys(
    settings: Settings, log: InteractionLog, embedder: EmbedderIdentity, policy: RepeatPolicy
) -> dict[str, str]:
    """Key of every stage, by name: its own inputs and the keys of the stages it reads."""
    options = settings.training
    base: dict[str, Any] = {"code": code_hash(), "torch": torch.__version__}
    text = {
        "data": fingerprint(log),
        "embedder": embedder.model_dump(),
        "max_tokens": settings.embedder.max_tokens,
    }
    fit = base | {"seed": settings.seed, "threads": options.threads}
    split = {"test": options.test_steps, "validation": options.validation_steps}
    items = stage_key(**base, **text)
    backbone = stage_key(
        **fit,
        upstream=[items],
        split=split,
        config=encoder_config(settings, has_time=log.time is not None).model_dump(),
        options=backbone_options(settings, policy, len(log.catalogue)).model_dump(mode="json"),
    )
    abstracts = stage_key(
        **base,
        **text,
        split=split,
        seed=settings.seed,
        per_user=options.abstracts_per_user,
        profile=settings.profile.model_dump(include={"window", "retain"}),
    )
    projector = stage_key(
        **fit,
        upstream=[backbone, abstracts],
        options=projector_options(settings, policy).model_dump(),
    )
    calibration = stage_key(
        **fit,
        upstream=[projector],
        options=calibration_options(settings, policy).model_dump(),
    )
    return {
        "items": items,
        "backbone": backbone,
        "abstracts": abstracts,
        "projector": projector,
        "calibration": calibration,
    }
