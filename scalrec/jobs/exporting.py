"""From a trained model to its bundle on disk: used by `train`, `export`, `simulate`, `bench`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import shared
import training
from scalrec.folders import bundle_dir, recipe_note, settings_digest
from scalrec.settings import Settings
from shared.bundle import Bundle, load_bundle
from shared.errors import BundleError
from shared.files import write_whole
from shared.locks import exclusive
from shared.progress import Progress, Task
from training.background import in_thread
from training.export.export import export_bundle
from training.stages.code import code_of
from training.stages.content import fingerprint
from training.stages.stage import stage_key
from training.trained import TrainedModel


async def exported(
    trained: TrainedModel, settings: Settings, progress: Progress
) -> tuple[Bundle, bool]:
    """``export_if_changed`` to the recipe's own folder, in a thread that a cancellation ends."""
    destination = bundle_dir(settings, _recipe(trained, settings))
    return await in_thread(
        lambda stoppable: export_if_changed(trained, settings, destination, progress=stoppable),
        progress,
    )


def export_if_changed(
    trained: TrainedModel, settings: Settings, destination: Path, *, progress: Progress
) -> tuple[Bundle, bool]:
    """The bundle of a trained model, and whether the one on disk was still right.

    What a bundle was made from is noted beside it, so that an unchanged one is not exported (and
    checked against torch) again. A bundle that fails its own verification is replaced. Runs that
    share the folder take turns.

    Raises:
        BundleError: an exported graph differs from torch, or the folder cannot be written.
    """
    recipe, note = _recipe(trained, settings), recipe_note(destination)
    lock = destination.with_name(f".{destination.name}.lock")
    with ExitStack() as stack:
        shown: list[Task] = []

        def wait() -> None:
            if not shown:
                shown.append(stack.enter_context(progress.task("another run exports this bundle")))
            shown[0].advance(0)

        try:
            stack.enter_context(exclusive(lock, wait))
        except OSError as error:
            raise BundleError(f"cannot write into {destination.parent}: {error}") from error
        bundle, unchanged = _kept(destination, note, recipe), True
        if bundle is None:
            bundle, unchanged = (
                export_bundle(
                    trained,
                    destination,
                    settings,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    version=version("scalrec"),
                    progress=progress,
                ),
                False,
            )
        # Also of one that was kept: it is the one that was asked for last.
        told = {"recipe": recipe, "bundle_id": bundle.id, "asked": settings_digest(settings)}
        write_whole(note, json.dumps(told) + "\n")
    return bundle, unchanged


def _kept(destination: Path, note: Path, recipe: str) -> Bundle | None:
    """The bundle on disk if it is whole and of this recipe."""
    try:
        bundle = load_bundle(destination)
        told = json.loads(note.read_text())
        right = (told["recipe"], told["bundle_id"]) == (recipe, bundle.id)
    except (BundleError, OSError, ValueError, LookupError, TypeError, RecursionError):
        return None  # none yet, damaged, or of unknown origin
    return bundle if right else None


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
