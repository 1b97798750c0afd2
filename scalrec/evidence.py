"""Controlled experiments of a run, through the bundle's own graphs; reused when unchanged."""

from __future__ import annotations

from pathlib import Path

import cloud_service
import device_runtime
import loadtest
import shared
import training
from cloud_service.embedding.base import Embedder
from loadtest.evaluation_models import EvaluationModels
from loadtest.evidence_records import FULL, PAPER
from loadtest.full_ranking import run_full_ranking
from loadtest.paper import run_paper
from loadtest.snapshot_source import snapshots_needed
from scalrec.offline_cloud import OfflineCloud, embed_abstracts
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.metrics import HALF_LIFE
from shared.progress import Progress
from shared.split import Split
from training.background import in_thread
from training.stages import Saved, StageStore, source_hash, stage_key

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
    gaps = settings.paper.gaps

    async def measure() -> Blobs:
        points = snapshots_needed(steps, gaps)
        abstracts = await embed_abstracts(
            settings,
            log,
            embedder,
            points,
            form=bundle.manifest.abstract,
            label="embedding test abstracts",
            progress=progress,
        )
        source = OfflineCloud(bundle, embedder, abstracts, settings.cloud.candidates)
        models = EvaluationModels.load(bundle, expected=settings.profile)

        def work(progress: Progress) -> None:
            half_life = HALF_LIFE
            run_full_ranking(
                run_dir, log, steps, models, source, half_life=half_life, progress=progress
            )
            run_paper(run_dir, log, steps, models, source, gaps=gaps, progress=progress)

        await in_thread(work, progress)
        return {name: (run_dir / name).read_bytes() for name in (PAPER, FULL)}

    store = StageStore(settings.work_dir / "stages")
    blobs = await store.run("evidence", _key(settings, bundle), measure, Saved(_save, _load))
    _save(blobs, run_dir)
    return store


def _key(settings: Settings, bundle: Bundle) -> str:
    rooms = (device_runtime, loadtest, cloud_service, shared, training)
    device, fleet, cloud, contracts, offline = (Path(room.__path__[0]) for room in rooms)
    sources = [
        *(device, fleet),
        *(cloud / name for name in ("retrieval.py", "user_model.py")),
        *(contracts / name for name in ("metrics.py", "packed.py", "split.py")),
        offline / "anchors.py",
        *(Path(__file__).with_name(name) for name in ("evidence.py", "offline_cloud.py")),
    ]
    return stage_key(
        bundle=bundle.id,
        paper=settings.paper.model_dump(mode="json", exclude={"bootstrap"}),
        candidates=settings.cloud.candidates,
        test_steps=settings.training.test_steps,
        code=source_hash(sources, leave_out=("report", "summary")),
    )


def _save(blobs: Blobs, folder: Path) -> None:
    for name, blob in blobs.items():
        (folder / name).write_bytes(blob)


def _load(folder: Path) -> Blobs:
    return {name: (folder / name).read_bytes() for name in (PAPER, FULL)}
