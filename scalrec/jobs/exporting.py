"""From a trained model to its bundle on disk: used by `train`, `export`, `simulate`, `bench`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import shared
import training
from scalrec.folders import bundle_dir
from scalrec.settings import Settings
from shared.bundle import Bundle, load_bundle
from shared.errors import BundleError
from shared.files import write_whole
from shared.progress import Progress
from training.background import in_thread
from training.export.export import export_bundle
from training.stages.code import code_of
from training.stages.content import fingerprint
from training.stages.stage import stage_key
from training.trained import TrainedModel


async def exported(
    trained: TrainedModel, settings: Settings, progress: Progress
) -> tuple[Bundle, bool]:
    """``export_if_changed`` to the settings' own folder, in a thread that a cancellation ends."""
    return await in_thread(
        lambda stoppable: export_if_changed(
            trained, settings, bundle_dir(settings), progress=stoppable
        ),
        progress,
    )


def export_if_changed(
    trained: TrainedModel, settings: Settings, destination: Path, *, progress: Progress
) -> tuple[Bundle, bool]:
    """The bundle of a trained model, and whether the one on disk was still right.

    What a bundle was made from is noted beside it, so that an unchanged one is not exported (and
    checked against torch) again. A bundle that fails its own verification is replaced.

    Raises:
        BundleError: an exported graph differs from torch, or the folder cannot be written.
    """
    recipe = _recipe(trained, settings)
    note = destination.with_name(f"{destination.name}.recipe.json")
    try:
        bundle = load_bundle(destination)
        if json.loads(note.read_text()) == {"recipe": recipe, "bundle_id": bundle.id}:
            return bundle, True
    except (BundleError, OSError, ValueError):
        pass  # none yet, damaged, or of unknown origin: made anew below
    bundle = export_bundle(
        trained,
        destination,
        settings,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("scalrec"),
        progress=progress,
    )
    write_whole(note, json.dumps({"recipe": recipe, "bundle_id": bundle.id}) + "\n")
    return bundle, False


def _generated(trained: TrainedModel, settings: Settings) -> dict[str, object]:
    """What else goes into a bundle with a generator; the others' recipes stay as they are."""
    if trained.generator is None:
        return {}
    chosen = trained.collaboration
    return {
        "collaboration": None if chosen is None else chosen.model_dump(),
        "generative": settings.generative.model_dump(),
        "item_tokens": settings.abstract.item_tokens,
        "generator": [asdict(epoch) for epoch in trained.generator.epochs],
    }


def _recipe(trained: TrainedModel, settings: Settings) -> str:
    return stage_key(
        stages=dict(trained.keys),
        data=fingerprint(trained.log),
        scalrec=version("scalrec"),
        exporter=code_of([shared, training]),
        profile=settings.profile.model_dump(),
        candidates=settings.cloud.candidates,
        top_l=settings.training.top_l,
        terms=trained.log.terms,
        refresh=None if trained.refresh is None else trained.refresh.model_dump(mode="json"),
        **_generated(trained, settings),
    )
