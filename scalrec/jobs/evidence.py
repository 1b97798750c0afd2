"""Controlled experiments of a run, through the bundle's own graphs; reused when unchanged."""

from __future__ import annotations

from pathlib import Path

import cloud_service
import device_runtime
import loadtest
from cloud_service.embedding.base import Embedder, model_content
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.full_ranking import run_full_ranking
from loadtest.evaluation.paper import run_paper
from loadtest.evaluation.snapshot_source import snapshots_needed
from loadtest.records.checksums import seal
from loadtest.records.evidence_records import FULL, PAPER
from scalrec.jobs.offline_cloud import AbstractVectors, OfflineCloud, embed_abstracts
from scalrec.settings import Settings
from shared.abstract_form import AbstractForm
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.files import write_whole
from shared.interactions import InteractionLog
from shared.metrics import HALF_LIFE
from shared.progress import Progress
from shared.split import Split, Steps
from training.background import in_thread
from training.semantic.anchors import write_abstracts
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.texts import embed_texts
from training.stages.content import fingerprint
from training.stages.forms import Saved
from training.stages.stage import Stage
from training.stages.store import StageStore

Blobs = dict[str, bytes]


async def collect_evidence(
    settings: Settings,
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    embedder: Embedder,
    run_dir: Path,
    *,
    progress: Progress,
) -> StageStore:
    """Write paper.parquet and full.parquet of this bundle into ``run_dir``.

    Returns:
        The stage store, which knows the seconds it took and whether records were reused.
    """
    steps = split.last_test(settings.paper.steps)
    stage = evidence_stage(settings, log, steps, bundle, embedder, run_dir)
    store = StageStore(settings.work_dir / "stages")
    _put(await store.result(stage, progress), run_dir)
    return store


async def embed_evidence(
    settings: Settings,
    log: InteractionLog,
    steps: Steps,
    embedder: Embedder,
    *,
    form: AbstractForm,
    progress: Progress,
) -> AbstractVectors:
    """The abstract at every moment that a snapshot of evidence is of; cached on disk."""
    return await embed_abstracts(
        settings,
        log,
        embedder,
        snapshots_needed(steps, settings.paper.gaps),
        form=form,
        label="embedding test abstracts",
        progress=progress,
    )


def evidence_stage(
    settings: Settings,
    log: InteractionLog,
    steps: Steps,
    bundle: Bundle,
    embedder: Embedder,
    run_dir: Path,
) -> Stage[Blobs]:
    """The records of ``steps`` with snapshots of every age, as files by name."""
    gaps = settings.paper.gaps

    async def measure(progress: Progress) -> Blobs:
        abstracts = await embed_evidence(
            settings, log, steps, embedder, form=bundle.manifest.abstract, progress=progress
        )
        source = OfflineCloud(bundle, embedder, abstracts, settings.cloud)
        models = EvaluationModels.load(bundle, expected=settings.profile)

        def work(progress: Progress) -> None:
            half_life = HALF_LIFE
            run_full_ranking(
                run_dir, log, steps, models, source, half_life=half_life, progress=progress
            )
            run_paper(run_dir, log, steps, models, source, gaps=gaps, progress=progress)

        await in_thread(work, progress)
        return {name: (run_dir / name).read_bytes() for name in (PAPER, FULL)}

    return Stage(
        name="evidence",
        options={
            "paper": settings.paper.model_dump(mode="json", exclude={"bootstrap"}),
            "candidates": settings.cloud.candidates,
            "index": [settings.cloud.exact_below, settings.cloud.least_recall],
            "model": model_content(settings.embedder.model),
            "max_tokens": settings.embedder.max_tokens,
        },
        inputs={"bundle": bundle.id, "log": fingerprint(log), "steps": steps},
        code=(
            *(cloud_service, device_runtime, loadtest),
            *(evidence_stage, OfflineCloud, write_abstracts, embed_texts, EmbeddingCache),
        ),
        build=measure,
        form=Saved(_save, _load),
    )


def _save(blobs: Blobs, folder: Path) -> None:
    for name, blob in blobs.items():
        write_whole(folder / name, blob)


def _put(blobs: Blobs, run_dir: Path) -> None:
    """Into a run's folder, with their checksums; raises ConfigError if the disk refuses."""
    try:
        _save(blobs, run_dir)
        seal(run_dir, *blobs)
    except OSError as error:
        raise ConfigError(f"cannot write records into {run_dir}: {error}") from error


def _load(folder: Path) -> Blobs:
    return {name: (folder / name).read_bytes() for name in (PAPER, FULL)}
